"""What a client raises when a server does not answer as asked."""

from tfembed.serving.status import CODE_NUMBERS


class ServingError(RuntimeError):
    """A request failed. The message says why and what to do.

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
    """Nothing answers at the address, or not in the protocol expected."""


class DeadlineExceeded(ServingError):
    """The answer did not come in time."""


class NotFound(ServingError):
    """The server does not serve that model, or that version of it."""


class InvalidRequest(ServingError):
    """The server refuses the request; sent again, it would fail again."""


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
        ServingError,
        "Send less at a time with `batch_size` or `batch_megabytes`, or fewer requests "
        "at once.",
    ),
    "ABORTED": (ServingError, "Ask again, or pin a `version`."),
}
_REFUSED = (
    InvalidRequest,
    "Compare the request with the signatures that `metadata()` lists.",
)
# What a refusal may say, and what is to be done then.
_REFUSALS = (
    (
        ("servable version label",),
        NotFound,
        "Check `label` against `version_labels` in the server's model config; it names "
        "a version only once that is loaded.",
    ),
    (
        ("serving signature key", "serving signature name", "no signature was found"),
        InvalidRequest,
        "`metadata()` lists the signatures that the model has. What an older tfembed "
        "exported lacks some: export it again.",
    ),
    (
        ("--max-image-megapixels",),
        InvalidRequest,
        "Or set the client's `max_megapixels` to the same limit, and it is told which "
        "image that is before anything is sent.",
    ),
)
_BROKEN = (ServingError, "The server's own log says more.")


def serving_error(code, detail, address, model):
    """Makes the exception for a failed request.

    Args:
        code: Name of the status code.
        detail: What the server, or the transport, said.
        address: The address asked.
        model: The model asked for, e.g. `"the model 'model', version 3"`.

    Returns:
        A `ServingError`.
    """
    if code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        kind, advice = _refusal(detail)
    else:
        kind, advice = _ADVICE.get(code, _BROKEN)
    if code not in CODE_NUMBERS:
        code = "UNKNOWN"
    said = detail.strip().rstrip(".") or "no reason given"
    return kind(
        f"{address} did not answer for {model}: {code}: {said}. {advice}",
        code,
        detail,
    )


def _refusal(detail):
    for phrases, kind, advice in _REFUSALS:
        if any(phrase in detail.lower() for phrase in phrases):
            return kind, advice
    return _REFUSED
