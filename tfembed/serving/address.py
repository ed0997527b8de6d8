"""What a client is pointed at: an address, and a model there."""

import dataclasses
import re
from typing import Optional
from urllib.parse import urlsplit

from tfembed.ops.arguments import as_count

CARD_PATH = "/card.json"
"""Where the local server tells a model's card; TF Serving has no such path."""

_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):\d{1,5}")
_LABEL = re.compile(r"[^/:\s]+")


def parse_address(address):
    """Tells the protocol by the form of an address.

    Args:
        address: `"host:port"` or `"grpc://host:port"` for gRPC, `"http://host:port"` or
            `"https://host:port"` for REST.

    Returns:
        `("grpc", "host:port")` or `("rest", url)`.

    Raises:
        ValueError: If it is neither.
    """
    scheme, _, rest = str(address).rpartition("://")
    if scheme in ("http", "https") and rest:
        return "rest", str(address)
    if scheme in ("", "grpc") and _HOST_AND_PORT.fullmatch(rest):
        return "grpc", rest
    raise ValueError(
        "`address` must be 'host:port' or 'grpc://host:port' for gRPC, or "
        f"'http://host:port' for REST. Received: address={address!r}."
    )


def is_local(address):
    """Whether `"host:port"` or a URL means this machine: then no proxy is used."""
    url = address if "://" in address else f"//{address}"
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model, and which version of it.

    Attributes:
        name: The model's name.
        version: A version's number, or None.
        label: The label that the server's config gives to a version, or None. Without
            number and label the server chooses: TF Serving takes the highest number.
    """

    name: str
    version: Optional[int] = None
    label: Optional[str] = None

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(
                "`name` must be the name that the server gives the model. "
                f"Received: name={self.name!r}."
            )
        if self.version is not None and self.label is not None:
            raise ValueError(
                "A model is pinned to a `version` or to a `label`, not to both. "
                f"Received: version={self.version!r}, label={self.label!r}."
            )
        if self.version is not None:
            note = ", the number of a version, or None for the latest"
            as_count("version", self.version, 0, note=note)
        if self.label is not None and not (
            isinstance(self.label, str) and _LABEL.fullmatch(self.label)
        ):
            raise ValueError(
                "`label` must be a label of the server's config, without '/', ':' and "
                f"spaces, or None. Received: label={self.label!r}."
            )

    def __str__(self):
        chosen = ""
        if self.version is not None:
            chosen = f", version {self.version}"
        elif self.label is not None:
            chosen = f", label {self.label!r}"
        return f"the model {self.name!r}{chosen}"
