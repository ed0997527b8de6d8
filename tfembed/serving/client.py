"""The client: embeddings and neighbours from a server, over gRPC or REST."""

import re

import numpy as np

from tfembed.serving.errors import InvalidRequest, serving_error
from tfembed.serving.images import as_input
from tfembed.serving.results import Embeddings, SearchResult

_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):\d{1,5}")

# The input and the name of the signature for each question and kind of image.
_SIGNATURES = {
    ("embed", "bytes"): ("image_bytes", "embed_bytes"),
    ("embed", "images"): ("images", "embed"),
    ("search", "bytes"): ("image_bytes", "search_bytes"),
    ("search", "images"): ("images", "search_images"),
}


class Client:
    """Asks a TF Serving, or the local server, that serves an exported model.

    ```python
    client = Client("localhost:8500")
    result = client.search(["a.png", "b.jpg"])
    print(result.labels[0], result.scores[0])
    ```

    Args:
        address: `"host:port"` or `"grpc://host:port"` for gRPC,
            `"http://host:port"` or `"https://host:port"` for REST. Both give the
            same answers; gRPC is faster with arrays, REST needs no TensorFlow.
        name: Name of the model at the server.
        version: Version to ask, or None for the latest.
        timeout: Seconds that each request may take.
        batch_size: How many images are sent in one request.

    Raises:
        ImportError: If the package that speaks the protocol is missing.
        ValueError: If an argument makes no sense.
    """

    def __init__(
        self, address, name="model", version=None, timeout=30.0, batch_size=32
    ):
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(
                "`batch_size` must be an integer above 0. "
                f"Received: batch_size={batch_size!r}."
            )
        if not timeout > 0:
            raise ValueError(
                f"`timeout` must be seconds above 0. Received: timeout={timeout!r}."
            )
        self.address = address
        self.name = name
        self.version = version
        self._batch_size = batch_size
        self._metadata = None
        self._transport = _connect(address, timeout, self._fail)

    def embed(self, images):
        """Returns the embeddings of images.

        Args:
            images: One image or many of one kind: paths, the bytes of image files,
                or arrays of the model's size with values from 0 to 255, `(height,
                width, channels)` each, or `(batch, height, width, channels)`.

        Returns:
            `Embeddings`, one row an image.

        Raises:
            ServingError: If the server does not answer as asked.
            TypeError: If `images` is something else.
            ValueError: If a file cannot be read, or an array does not fit.
        """
        outputs = self._ask("embed", images)
        return Embeddings(outputs["embeddings"], outputs["valid"])

    def search(self, images, k=None):
        """Returns the nearest neighbours of images.

        Args:
            images: As for `embed`.
            k: How many neighbours, at most as many as the model was exported with.
                None gives them all.

        Returns:
            `SearchResult`, one row an image.

        Raises:
            ServingError: If the server does not answer as asked.
            TypeError: If `images` is something else.
            ValueError: If a file cannot be read, an array does not fit, or there
                are not `k` neighbours.
        """
        if k is not None and (not isinstance(k, (int, np.integer)) or k < 1):
            raise ValueError(f"`k` must be an integer above 0. Received: k={k!r}.")
        outputs = self._ask("search", images)
        result = SearchResult(
            **{name: outputs[name] for name in SearchResult.__dataclass_fields__}
        )
        return result if k is None else result.nearest(k)

    def predict(self, inputs, signature_name="serving_default"):
        """Runs any signature of the model, in one request.

        Args:
            inputs: Dictionary of input name to array, or to list of bytes.
            signature_name: Name of the signature.

        Returns:
            Dictionary of output name to array; strings are `str`.

        Raises:
            ServingError: If the server does not answer as asked.
        """

        def output_specs():
            metadata = self._metadata or self.metadata()
            signature = metadata.signatures.get(signature_name)
            return signature.outputs if signature else {}

        return self._transport.predict(
            self.name, self.version, signature_name, inputs, output_specs
        )

    def metadata(self):
        """Returns the `ModelMetadata`: the signatures of the model.

        Raises:
            ServingError: If the server does not answer as asked.
        """
        self._metadata = self._transport.metadata(self.name, self.version)
        return self._metadata

    def status(self):
        """Returns a list of `VersionStatus`, one a version of the model.

        Raises:
            ServingError: If the server does not answer as asked.
        """
        return self._transport.status(self.name, self.version)

    def close(self):
        """Closes the connection."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _ask(self, what, images):
        """Sends images in batches and puts the answers together."""
        kind, values = as_input(images, self._image_shape)
        key, signature_name = _SIGNATURES[what, kind]
        answers = [
            self.predict(
                {key: values[start : start + self._batch_size]}, signature_name
            )
            for start in range(0, len(values), self._batch_size)
        ]
        return {
            name: np.concatenate([answer[name] for answer in answers])
            for name in answers[0]
        }

    def _image_shape(self):
        """Returns the model's `(height, width, channels)`, fresh from the server."""
        signatures = self.metadata().signatures
        for name in ("search_images", "embed"):
            if name in signatures and "images" in signatures[name].inputs:
                return signatures[name].inputs["images"].shape[1:]
        raise InvalidRequest(
            f"The model {self.name!r} at {self.address} takes no arrays of images. "
            f"It has the signatures {', '.join(sorted(signatures))}. Export it with "
            "`python -m tfembed.export model`.",
            "FAILED_PRECONDITION",
        )

    def _fail(self, code, detail):
        version = "" if self.version is None else f", version {self.version}"
        model = f"the model {self.name!r}{version}"
        return serving_error(code, detail, self.address, model)


def _connect(address, timeout, fail):
    """Chooses the transport by the form of the address."""
    scheme, mark, rest = str(address).rpartition("://")
    try:
        if scheme in ("http", "https") and rest:
            from tfembed.serving.rest_transport import RestTransport

            return RestTransport(address, timeout, fail)
        if scheme in ("", "grpc") and _HOST_AND_PORT.fullmatch(rest):
            from tfembed.serving.grpc_transport import GrpcTransport

            return GrpcTransport(rest, timeout, fail)
    except ImportError as error:
        raise ImportError(
            f"The client needs a package that is missing ({error}). Install it with "
            '`pip install "tfembed[serving]"`.'
        ) from error
    raise ValueError(
        "`address` must be 'host:port' or 'grpc://host:port' for gRPC, or "
        f"'http://host:port' for REST. Received: address={address!r}."
    )
