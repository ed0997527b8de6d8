"""What a client can ask, as plans; see `tfembed.serving.plans`."""

import numpy as np

from tfembed.ops.arguments import as_count, as_number
from tfembed.serving.address import ModelSpec, parse_address
from tfembed.serving.errors import InvalidRequest, serving_error
from tfembed.serving.filters import Filters
from tfembed.serving.images import EmbeddingQueries, Images, encode_png
from tfembed.serving.like_unlike import Examples
from tfembed.serving.lists import as_lines, as_table, read_scores
from tfembed.serving.options import Options, check_weight
from tfembed.serving.plans import Part, call, collected
from tfembed.serving.progress import reporter
from tfembed.serving.results import Embeddings, Scores, SearchResult

DEFAULT_SIGNATURE = "serving_default"
# The input and the name of the signature for each question and kind of query.
_SIGNATURES = {
    ("embed", "bytes"): ("image_bytes", "embed_bytes"),
    ("embed", "images"): ("images", "embed"),
    ("search", "bytes"): ("image_bytes", "search_bytes"),
    ("search", "images"): ("images", "search_images"),
    ("search", "embeddings"): ("embeddings", "search"),
    ("search_filtered", "bytes"): ("image_bytes", "search_filtered_bytes"),
    ("search_filtered", "embeddings"): ("embeddings", "search_filtered"),
    ("score", "embeddings"): ("embeddings", "score"),
}
# Those that take lists, and the signature that takes them as lines: a newer export's.
_LINES = {
    name: f"{name}_lines"
    for name in ("search_filtered", "search_filtered_bytes", "score")
}
# The one that takes everything else that can be asked.
_QUERY = "query"
# The signatures of an export: asked twice, they answer twice the same.
_SAFE = {name for _, name in _SIGNATURES.values()} | {DEFAULT_SIGNATURE, "classify"}
_SAFE |= {*_LINES.values(), _QUERY}


class Questions:
    """Plans of all questions, for one model at one address.

    Args:
        address: As `Client`.
        name: As `Client`.
        version: As `Client`.
        label: As `Client`.
        timeout: As `Client`.
        retries: As `Client`.
        batch_size: As `Client`.
        batch_megabytes: As `Client`.
        max_megapixels: As `Client`.

    Attributes:
        protocol: `"grpc"` or `"rest"`.
        target: What the transport connects to.
        spec: The `ModelSpec`.

    Raises:
        ValueError: If an argument makes no sense.
    """

    def __init__(
        self,
        address,
        name="model",
        version=None,
        label=None,
        timeout=30.0,
        retries=3,
        batch_size=32,
        batch_megabytes=32.0,
        max_megapixels=64.0,
    ):
        self.protocol, self.target = parse_address(address)
        self.spec = ModelSpec(name, version, label)
        self._address = address
        self._timeout = as_number("timeout", timeout, above=0, note=" of seconds")
        self._retries = as_count("retries", retries, 0)
        self._batch_size = as_count("batch_size", batch_size)
        megabytes = as_number("batch_megabytes", batch_megabytes, above=0)
        self._batch_bytes = max(int(megabytes * 1e6), 1)
        self._max_pixels = None
        if max_megapixels is not None:
            self._max_pixels = 1e6 * as_number(
                "max_megapixels", max_megapixels, above=0
            )
        self._metadata = None

    def fail(self, code, detail, too_large=False):
        """Returns the exception for what the server, or the transport, said."""
        return serving_error(code, detail, self._address, self.spec, too_large)

    def embed(self, images, progress):
        """Plans `Client.embed`; as the next five, it yields a `Part` a request."""

        def ask(batch):
            outputs = yield from self._asked("embed", batch)
            return self._result(Embeddings, outputs)

        yield from self._each(Images(images), ask, progress)

    def search(self, images, k, options, progress):
        """Plans `Client.search`."""
        yield from self._searched(Images(images), k, Options(**options), progress)

    def search_embeddings(self, embeddings, k, options, progress):
        """Plans `Client.search_embeddings`."""
        queries = EmbeddingQueries(embeddings)
        yield from self._searched(queries, k, Options(**options), progress)

    def search_filtered(self, images, k, embeddings, filters, options, progress):
        """Plans `Client.search_filtered`."""
        queries = _one_of(images, embeddings)
        filters, options = Filters(**filters), Options(**options)
        if queries.total is not None:
            filters.check_size(queries.total)
        _check_k(k)

        def ask(batch):
            lists = filters.lists(batch.start, batch.stop)
            batch = yield from self._embedded(batch, pixels_alone=True)
            if options.asked:
                outputs = yield from self._queried(batch, lists, options)
            else:
                outputs = yield from self._asked_of("search_filtered", batch, lists)
            return _nearest(self._result(SearchResult, outputs), k)

        done = yield from self._each(queries, ask, progress)
        filters.check_size(done)

    def search_like(self, k, ids, embeddings, images, weight, options, filters):
        """Plans `Client.search_like`."""
        examples = Examples(ids, embeddings, images)
        weight, options = check_weight(weight), Options(**options)
        filters = Filters(**filters)
        filters.check_size(1)
        _check_k(k)

        def ask(batch):
            outputs = yield from self._asked("embed", batch)
            return self._result(Embeddings, outputs)

        dim = yield from self._query_dim()
        for kind, given in examples.images.items():
            found = yield from collected(self._each(given, ask, None))
            examples.add_embedded(kind, self.joined(found))
        inputs = {
            **{name: as_lines(each) for name, each in examples.lists().items()},
            **examples.bytes(dim),
            "negative_weight": np.full(1, weight, np.float32),
        }
        outputs = yield from self._queried(None, filters.lists(0, 1), options, inputs)
        result = self._result(SearchResult, outputs)
        if result.problem[0]:  # of the only question
            raise self.fail("INVALID_ARGUMENT", str(result.problem[0]))
        yield Part(_nearest(result, k))

    def score(self, ids, images, embeddings, progress):
        """Plans `Client.score`."""
        queries = _one_of(images, embeddings)
        ids = _id_table(ids, queries.total)

        def ask(batch):
            if 1 != len(ids) < batch.stop:
                _check_rows(ids, f"at least {batch.stop}")
            one = len(ids) == 1
            here = ids * len(batch) if one else ids[batch.start : batch.stop]
            batch = yield from self._embedded(batch)
            outputs = yield from self._asked_of("score", batch, {"ids": here})
            if "lines" in outputs:
                outputs = self._scores_of_lines(outputs["lines"], here)
            return self._result(Scores, outputs)

        done = yield from self._each(queries, ask, progress)
        _check_rows(ids, done)

    def classify(self, images, signature_name, progress):
        """Plans `Client.classify`."""

        def ask(batch):
            files = batch.values if batch.kind == "bytes" else encode_png(batch.values)
            return (yield from self._call("classify", signature_name, files))

        yield from self._each(Images(images), ask, progress)

    def predict(self, inputs, signature_name, retry):
        """Plans `Client.predict`; as the next, it returns the answer."""
        signature_name = signature_name or DEFAULT_SIGNATURE
        retry = signature_name in _SAFE if retry is None else retry
        answer = yield from self._call(
            "predict", signature_name, inputs, retries=None if retry else 0
        )
        if isinstance(answer, dict):
            return answer
        for refresh in (False, True):  # JSON does not tell the dtypes
            metadata = yield from self.metadata(refresh)
            signature = metadata.signatures.get(signature_name)
            arrays = answer.arrays(signature.outputs) if signature else None
            if arrays is not None:
                return arrays
        raise self.fail(
            "INTERNAL",
            f"the outputs of {signature_name!r} are not those that its metadata tells",
        )

    def metadata(self, refresh=True):
        """Plans `Client.metadata`; without `refresh` what is known already will do."""
        if refresh or self._metadata is None:
            self._metadata = yield from self._call("metadata")
        return self._metadata

    def status(self):
        """Plans `Client.status`."""
        return (yield from self._call("status"))

    def card(self):
        """Plans `Client.card`."""
        return (yield from self._call("card"))

    def joined(self, parts):
        """Returns the results of several requests as one.

        Raises:
            ServingError: If they do not fit: the version changed in between.
        """
        try:
            return type(parts[0]).joined(parts)
        except ValueError as error:
            raise self.fail(
                "ABORTED", "the model's version changed between two requests"
            ) from error

    def _call(self, method, *arguments, retries=None):
        retries = self._retries if retries is None else retries
        try:
            return (
                yield from call(
                    method,
                    self.spec,
                    *arguments,
                    timeout=self._timeout,
                    retries=retries,
                )
            )
        except InvalidRequest:
            self._metadata = None  # perhaps of a version that is gone
            raise

    def _each(self, queries, ask, progress):
        """Asks a batch at a time; returns how many queries there were."""
        tell = reporter(progress, queries)
        shape = None
        if queries.takes_shape:
            known = self._metadata is not None
            shape = yield from self._image_shape(refresh=False)
            if known and not queries.fits(shape):
                shape = yield from self._image_shape(refresh=True)
        done = 0
        for batch in queries.batches(
            shape, self._batch_size, self._batch_bytes, self._max_pixels
        ):
            answer = yield from ask(batch)
            if len(answer) != len(batch):
                raise self.fail(
                    "INTERNAL", f"{len(answer)} rows came for {len(batch)} images"
                )
            done = batch.stop
            tell(done)
            yield Part(answer)
        tell(done, finished=True)
        return done

    def _searched(self, queries, k, options, progress):
        _check_k(k)

        def ask(batch):
            if options.asked:
                batch = yield from self._embedded(batch, pixels_alone=True)
                lists = Filters().lists(batch.start, batch.stop)
                outputs = yield from self._queried(batch, lists, options)
            else:
                outputs = yield from self._asked("search", batch)
            return _nearest(self._result(SearchResult, outputs), k)

        yield from self._each(queries, ask, progress)

    def _asked(self, what, batch):
        key, signature_name = _SIGNATURES[what, batch.kind]
        inputs = {key: batch.values}
        return (yield from self.predict(inputs, signature_name, True))

    def _queried(self, batch, lists, options, examples=None):
        """Asks the signature `query`, of a batch, or of examples alone."""
        dim = yield from self._query_dim()
        count = 1 if batch is None else len(batch)
        nothing = dict.fromkeys(("positive_ids", "negative_ids"), [""] * count)
        names = ("image_bytes", "positive_embeddings", "negative_embeddings")
        inputs = {
            "embeddings": np.zeros((count, dim), np.float32),
            **dict.fromkeys(names, [b""] * count),
            **nothing,
            "negative_weight": np.zeros(count, np.float32),
            **options.inputs(count),
            **{name: as_lines(each) for name, each in lists.items()},
            **(examples or {}),
        }
        if batch is not None:
            key = "image_bytes" if batch.kind == "bytes" else "embeddings"
            inputs[key] = batch.values
        return (yield from self.predict(inputs, _QUERY, True))

    def _query_dim(self):
        """Returns the length of an embedding, as the signature `query` takes it."""
        for refresh in (False, True):
            metadata = yield from self.metadata(refresh)
            if _QUERY in metadata.signatures:
                return metadata.signatures[_QUERY].inputs["embeddings"].shape[1]
        raise InvalidRequest(
            f"{self.spec} at {self._address} has no signature `{_QUERY}`, which "
            "`min_score`, `per_label` and examples need: an older tfembed exported it. "
            "Export it again with `python -m tfembed.export model`, or ask without "
            "them.",
            "FAILED_PRECONDITION",
        )

    def _asked_of(self, what, batch, lists):
        """Asks with lists, in the form that the export declares."""
        known = self._metadata is not None
        lines = yield from self._takes_lines(what, batch)
        try:
            return (yield from self._asked_in_form(what, batch, lists, lines))
        except InvalidRequest:  # perhaps what was known was of another version
            if not known or (yield from self._takes_lines(what, batch)) == lines:
                raise
        return (yield from self._asked_in_form(what, batch, lists, not lines))

    def _takes_lines(self, what, batch):
        _, signature_name = _SIGNATURES[what, batch.kind]
        metadata = yield from self.metadata(refresh=False)
        return _LINES[signature_name] in metadata.signatures

    def _asked_in_form(self, what, batch, lists, lines):
        key, signature_name = _SIGNATURES[what, batch.kind]
        write = as_lines if lines else as_table
        inputs = {key: batch.values}
        inputs.update({name: write(each) for name, each in lists.items()})
        signature_name = _LINES[signature_name] if lines else signature_name
        return (yield from self.predict(inputs, signature_name, True))

    def _scores_of_lines(self, texts, ids):
        try:
            scores, found = read_scores(texts, ids)
        except ValueError as error:
            raise self.fail("INTERNAL", f"the scores are not lines: {error}") from error
        return {"scores": scores, "found": found}

    def _embedded(self, batch, pixels_alone=False):
        """Turns a batch into one of embeddings, if it is none."""
        if batch.kind == "embeddings" or (pixels_alone and batch.kind == "bytes"):
            return batch
        outputs = yield from self._asked("embed", batch)
        embeddings = self._result(Embeddings, outputs).embeddings
        return type(batch)("embeddings", embeddings, batch.start)

    def _result(self, kind, outputs):
        """Makes a result of the outputs that it has fields for."""
        fields = kind.__dataclass_fields__
        names = [name for name in fields if name in outputs or name != "problem"]
        try:
            return kind(**{name: outputs[name] for name in names})
        except KeyError as error:
            raise self.fail("UNIMPLEMENTED", f"the answer has no {error}") from error

    def _image_shape(self, refresh):
        """Returns the model's `(height, width, channels)`."""
        signatures = (yield from self.metadata(refresh)).signatures
        for name in ("search_images", "embed"):
            if name in signatures and "images" in signatures[name].inputs:
                shape = signatures[name].inputs["images"].shape
                if shape is not None and len(shape) == 4:
                    return shape[1:]
        raise InvalidRequest(
            f"{self.spec} at {self._address} takes no arrays of images. It has the "
            f"signatures {', '.join(sorted(signatures))}. Export it with `python -m "
            "tfembed.export model`.",
            "FAILED_PRECONDITION",
        )


def _nearest(result, k):
    return result if k is None else result.nearest(k)


def _one_of(images, embeddings):
    if (images is None) == (embeddings is None):
        raise ValueError(
            "Give `images` or `embeddings`, one of the two. Received: "
            + ("neither." if images is None else "both.")
        )
    return Images(images) if embeddings is None else EmbeddingQueries(embeddings)


def _check_k(k):
    if k is not None:
        as_count("k", k)


def _id_table(ids, total):
    """Returns 1 or `total` lists of ids, all as long, padded with empty strings."""
    allowed = (
        "`ids` must be a list of ids, or one such list for each query. "
        f"Received: ids={ids!r}."
    )
    if isinstance(ids, (str, bytes)):
        raise TypeError(allowed)
    rows = list(ids)
    if all(isinstance(value, str) for value in rows):
        rows = [rows]
    rows = [row if isinstance(row, str) else list(row) for row in rows]
    for row in rows:
        if isinstance(row, str) or not all(isinstance(value, str) for value in row):
            raise TypeError(allowed)
    width = max(map(len, rows))
    if not width:
        raise ValueError("`ids` must name at least one id. Received: none.")
    table = [[*map(str, row), *[""] * (width - len(row))] for row in rows]
    if total is not None:
        _check_rows(table, total)
    return table


def _check_rows(table, total):
    if len(table) not in (1, total):
        raise ValueError(
            "`ids` must be a list of ids, or one such list for each query. "
            f"Received: {len(table)} lists for {total} queries."
        )
