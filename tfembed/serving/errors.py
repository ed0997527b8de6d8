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
        "Check `name` and `version` against what the server was started with; "
        "`status()` lists the versions of a model.",
    ),
    "UNIMPLEMENTED": (
        ServingError,
        "Check that the address is that of a TF Serving or of `python -m "
        "tfembed.serving`.",
    ),
    "RESOURCE_EXHAUSTED": (
        ServingError,
        "Send fewer images at a time with `batch_size`, or fewer requests at once.",
    ),
}
_REFUSED = (
    InvalidRequest,
    "Compare the request with the signatures that `metadata()` lists.",
)
_BROKEN = (ServingError, "The server's own log says more.")


def serving_error(code, detail, address, model):
    """Makes the exception for a failed request.

    Args:
        code: Name of the status code.
        detail: What the server, or the transport, said.
        address: The address asked.
        model: The model asked for, e.g. `"model, version 3"`.

    Returns:
        A `ServingError`.
    """
    if code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        kind, advice = _REFUSED
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
