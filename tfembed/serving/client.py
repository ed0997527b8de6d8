"""The client: asks a server about images, over gRPC or REST."""

import time

from tfembed.serving.methods import ClientMethods, whole
from tfembed.serving.plans import Call, Part, Pause


class Client(ClientMethods):
    """Asks a TF Serving, or the local server, that serves an exported model.

    ```python
    with Client("localhost:8500") as client:
        result = client.search(["a.png", "b.jpg"], k=5)
        print(result.labels[0], result.scores[0])
    ```

    Wherever images are asked for, they are one image or many of one kind: paths; the
    bytes of image files, also as memoryviews, `BytesIO` and open files, of which each
    is one image; Pillow's pictures; or arrays and tensors of the model's size with
    values from 0 to 255, `(height, width, channels)` each, or `(batch, height, width,
    channels)`. Many are a list, an array or any other iterable with an order; of a
    generator no more is read than the next request needs. They are sent in batches, one
    request after the other. A file that the model cannot read makes its own row
    `valid=False` and leaves the others alone; one that declares more than
    `max_megapixels` could cost the server its memory, and is refused by name before its
    batch is sent.

    A question that needs several requests may be answered by two versions, if the
    server changes to another meanwhile; pin one where that matters.

    One client may be shared by threads, and keeps its connection open.

    >>> from tfembed.serving import Client, ServerUnavailable
    >>> with Client("http://localhost:1", retries=0) as client:
    ...     try:
    ...         result = client.search(np.zeros((32, 32, 3), "uint8"), k=5)
    ...     except ServerUnavailable as error:
    ...         print(error.code)
    UNAVAILABLE

    Args:
        address: `"host:port"` or `"grpc://host:port"` for gRPC,
            `"http://host:port"` or `"https://host:port"` for REST. Both give the
            same answers; gRPC is faster with arrays, REST needs no TensorFlow.
        name: Name of the model at the server.
        version: Number of the version to ask, or None for the server's choice, which
            is the latest.
        label: Label of the version to ask, as the server's config gives it
            (`"stable"`), or None.
        timeout: Seconds that each request may take, with all attempts at it.
        retries: How often a request is sent again when the server cannot be reached
            (UNAVAILABLE), after 0.1 s, 0.2 s, ... with jitter. One that is there but
            too busy (`ServerBusy`) is asked again in the same way until `timeout`; 0
            asks once in any case. Nothing else is tried again: what was refused once
            is refused again.
        batch_size: The most images in one request.
        batch_megabytes: The most megabytes (10^6) of images in one request, unless a
            single image has more.
        max_megapixels: Images that declare more million pixels are refused; None
            sends them all.

    Raises:
        ImportError: If the package that speaks the protocol is missing.
        ValueError: If an argument makes no sense.
    """

    def __init__(
        self,
        address,
        name="model",
        version=None,
        timeout=30.0,
        batch_size=32,
        *,
        label=None,
        retries=3,
        batch_megabytes=32.0,
        max_megapixels=64.0,
    ):
        super().__init__(
            address,
            name=name,
            version=version,
            label=label,
            timeout=timeout,
            retries=retries,
            batch_size=batch_size,
            batch_megabytes=batch_megabytes,
            max_megapixels=max_megapixels,
        )
        rest = self._questions.protocol == "rest"
        protocol = self._protocol
        transport = protocol.RestTransport if rest else protocol.GrpcTransport
        self._transport = transport(self._questions.target, self._questions.fail)

    def close(self):
        """Closes the connection."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _together(self, plan):
        return self._questions.joined(list(self._parts(plan)))

    def _answer(self, plan):
        (answer,) = self._parts(whole(plan))
        return answer

    def _rows(self, plan):
        for part in self._parts(plan):
            yield from (part[row] for row in range(len(part)))

    def _parts(self, plan):
        """Takes the steps of a plan, and yields its parts."""
        act, given = plan.send, None
        while True:
            try:
                step = act(given)
            except StopIteration:
                return
            finally:
                act, given = plan.send, None
            if isinstance(step, Part):
                yield step.value
            elif isinstance(step, Pause):
                time.sleep(step.seconds)
            elif isinstance(step, Call):
                try:
                    given = self._transport.call(
                        step.method, *step.arguments, timeout=step.timeout
                    )
                except Exception as error:
                    act, given = plan.throw, error
