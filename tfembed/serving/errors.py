"""What a client raises when a server does not answer as asked."""

from tfembed.serving.status import CODE_NUMBERS


class ServingError(RuntimeError):
    """A request failed. The message says why and what to do.

    >>> from tfembed.serving import Client, ServingError
    >>> with Client("http://localhost:1", retries=0) as client:
    ...     try:
    ...         client.status()
    ...     except ServingError as error:
    ...         print(type(error).__name__, error.code)
    ServerUnavailable UNAVAILABLE

    Args:
        message: The message.
        code: The status code, a name such as `"INTERNAL"`, the same over gRPC and
            REST as far as REST tells.
        detail: What the server said, word for word.
    """

    def __init__(self, message, code, detail=""):
        super().__init__(message)
        self.code = code
        self.detail = detail


class ServerUnavailable(ServingError):
    """Nothing answers at the address, or not in the protocol expected.

    >>> from tfembed.serving import Client, ServerUnavailable
    >>> with Client("http://localhost:1", retries=0) as client:
    ...     try:
    ...         client.status()
    ...     except ServerUnavailable as error:
    ...         print(error.code)
    UNAVAILABLE
    """


class ServerBusy(ServerUnavailable):
    """The server is there, and refuses because it has too much to do at the moment.

    >>> from tfembed.serving import ServerBusy, ServerUnavailable
    >>> def ask(client, images):  # a busy server is asked again until the timeout
    ...     try:
    ...         return client.search(images)
    ...     except ServerBusy:
    ...         return None  # later, or with fewer callers
    >>> issubclass(ServerBusy, ServerUnavailable)
    True
    """


class RequestTooLarge(ServingError):
    """The request is larger than the server takes; sent again, it would still be.

    >>> from tfembed.serving import RequestTooLarge, ServingError
    >>> def search(client, images):
    ...     try:
    ...         return client.search(images)
    ...     except RequestTooLarge:  # one by one, as `batch_size=1` would
    ...         return [client.search(image) for image in images]
    >>> issubclass(RequestTooLarge, ServingError)
    True
    """


class DeadlineExceeded(ServingError):
    """The answer did not come in time.

    >>> from tfembed.serving import DeadlineExceeded, ServingError
    >>> def search(client, images):
    ...     try:
    ...         return client.search(images)
    ...     except DeadlineExceeded as error:
    ...         print(f"give more time, or fewer images: {error}")
    >>> issubclass(DeadlineExceeded, ServingError)
    True
    """


class NotFound(ServingError):
    """The server does not serve that model, or that version of it.

    >>> from tfembed.serving import Client, NotFound, ServingError
    >>> def served(address, name):
    ...     try:
    ...         return Client(address, name).status()
    ...     except NotFound:
    ...         return []
    >>> issubclass(NotFound, ServingError)
    True
    """


class InvalidRequest(ServingError):
    """The server refuses the request; sent again, it would fail again.

    >>> from tfembed.serving import InvalidRequest, ServingError
    >>> def search(client, images, **filters):
    ...     try:
    ...         return client.search_filtered(images, **filters)
    ...     except InvalidRequest as error:  # asked again it would fail again
    ...         print(error.detail)
    >>> issubclass(InvalidRequest, ServingError)
    True
    """


_REFUSED = (
    InvalidRequest,
    "Compare the request with the signatures that `metadata()` lists.",
)
_ADVICE = {
    "UNAVAILABLE": (
        ServerUnavailable,
        "Check the address, and that a server runs there: `python -m tfembed.serving "
        "MODEL_DIR`, or TF Serving. gRPC wants HOST:PORT (usually 8500), REST wants "
        "http://HOST:PORT (usually 8501).",
    ),
    "DEADLINE_EXCEEDED": (
        DeadlineExceeded,
        "Give more time with `timeout`, or send fewer images at a time with "
        "`batch_size`.",
    ),
    "NOT_FOUND": (
        NotFound,
        "Check `name`, `version` and `label` against what the server was started with; "
        "`status()` lists the versions of a model.",
    ),
    "UNIMPLEMENTED": (
        ServingError,
        "Check that the address is that of a TF Serving or of `python -m "
        "tfembed.serving`.",
    ),
    "RESOURCE_EXHAUSTED": (
        ServerBusy,
        "All threads of the server are taken, or a quota is used up; the client asked "
        "again as long as `timeout` and `retries` allow. Ask with fewer callers at a "
        "time (`AsyncClient(concurrency=...)`), or start TF Serving with more threads "
        "(`--grpc_max_threads`, 4 for each CPU by default).",
    ),
    "ABORTED": (ServingError, "Ask again, or pin a `version`."),
    "INVALID_ARGUMENT": _REFUSED,
    "FAILED_PRECONDITION": _REFUSED,
    "OUT_OF_RANGE": _REFUSED,
}
# What a server may say besides the code, and what is to be done then.
_UNKNOWN_LABEL = (
    ("servable version label",),
    NotFound,
    "Check `label` against `version_labels` in the server's model config; it names a "
    "version only once that is loaded.",
)
_UNKNOWN_SIGNATURE = (
    ("serving signature key", "serving signature name", "no signature was found"),
    InvalidRequest,
    "`metadata()` lists the signatures that the model has. What an older tfembed "
    "exported lacks some: export it again.",
)
_JOINED = (
    ("from different tasks have different shapes",),
    InvalidRequest,
    "The server joined it with other callers' requests, whose lists are of another "
    "width. Export the model again: with signatures that end in `_lines` all lists "
    "have one shape. Or switch the server's batching off.",
)
_TOO_MANY_PIXELS = (
    ("--max-image-megapixels",),
    InvalidRequest,
    "Or set the client's `max_megapixels` to the same limit, and it is told which "
    "image that is before anything is sent.",
)
_TOO_LARGE = (
    ("larger than max", "--max-request-megabytes", "exceeds hard limit"),
    RequestTooLarge,
    "Send less at a time with `batch_size` or `batch_megabytes`.",
)
_OUT_OF_MEMORY = (
    ("oom when", "out of memory", "failed to allocate"),
    RequestTooLarge,
    "The server does not have enough memory for it. Send less at a time with "
    "`batch_size`, or give the server more.",
)
_FULL_QUEUE = (
    ("batch scheduling queue", "batching queue"),
    ServerBusy,
    "The server is there, and as many batches wait in it as its batching parameters "
    "allow (`max_enqueued_batches`); the client asked again as long as `timeout` and "
    "`retries` allow. Send less at a time with `batch_size`, ask with fewer callers at "
    "a time, or add a replica.",
)
_STOPPING = (
    ("the server is stopping",),
    ServerUnavailable,
    "It is being shut down. Ask another replica, or ask again once it is back.",
)
_NOTHING_BEHIND = (
    ("http status 502", "http status 503"),
    ServerUnavailable,
    "A proxy or balancer answers at the address, and has no server behind it that is "
    "ready.",
)
_SAYINGS = {
    "INVALID_ARGUMENT": (
        _UNKNOWN_LABEL,
        _UNKNOWN_SIGNATURE,
        _JOINED,
        _TOO_MANY_PIXELS,
    ),
    "FAILED_PRECONDITION": (_UNKNOWN_LABEL, _UNKNOWN_SIGNATURE, _JOINED),
    "RESOURCE_EXHAUSTED": (_TOO_LARGE, _OUT_OF_MEMORY),
    "UNAVAILABLE": (_FULL_QUEUE, _STOPPING, _NOTHING_BEHIND),
}
_BROKEN = (ServingError, "The server's own log says more.")


def serving_error(code, detail, address, model, too_large=False):
    """Makes the exception for a failed request.

    Args:
        code: Name of the status code.
        detail: What the server, or the transport, said.
        address: The address asked.
        model: The model asked for, e.g. `"the model 'model', version 3"`.
        too_large: Whether the request is known to be too large; RESOURCE_EXHAUSTED
            alone does not tell that from a server without a free thread.

    Returns:
        A `ServingError`.
    """
    kind, advice = _TOO_LARGE[1:] if too_large else _kind_and_advice(code, detail)
    if code not in CODE_NUMBERS:
        code = "UNKNOWN"
    said = detail.strip().rstrip(".") or "no reason given"
    return kind(
        f"{address} did not answer for {model}: {code}: {said}. {advice}",
        code,
        detail,
    )


def _kind_and_advice(code, detail):
    for phrases, kind, advice in _SAYINGS.get(code, ()):
        if any(phrase in detail.lower() for phrase in phrases):
            return kind, advice
    return _ADVICE.get(code, _BROKEN)
