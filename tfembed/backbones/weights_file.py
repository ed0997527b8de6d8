"""A file of weights of a backbone: where it is from, and its hash."""

from __future__ import annotations

import dataclasses
import os

from tfembed.backbones.download import file_digest

UNKNOWN_LICENCE = "as whoever published the file says"


@dataclasses.dataclass(frozen=True)
class Weights:
    """A file of weights that is on this machine.

    >>> from tfembed.backbones import Weights
    >>> weights = Weights("mine.h5", "given", "9f86d0...", "MIT", "unverified")
    >>> weights.record()["licence"]
    'MIT'

    Attributes:
        path: The file.
        source: Where it is from: an address, or that it was given.
        sha256: Its digest.
        licence: The licence, as far as it is known.
        checked: What its content was compared with, `"unverified"` where nothing is
            stated to compare with.
    """

    path: str
    source: str
    sha256: str
    licence: str
    checked: str

    def record(self) -> dict[str, str]:
        """Returns what a run and a model card say of the weights."""
        facts = dataclasses.asdict(self)
        return {"file": os.path.basename(facts.pop("path")), **facts}


def own_file(backbone, weights, endings, what):
    """Returns the `Weights` of a file that the user names.

    Args:
        backbone: The backbone's name, for an error.
        weights: The file.
        endings: What its name may end in.
        what: What it is to be, for an error.
    """
    path = os.path.abspath(os.path.expanduser(weights))
    if not os.path.isfile(path) or not path.endswith(tuple(endings)):
        wrong = "which is not a file" if not os.path.isfile(path) else "which is none"
        raise ValueError(
            f"`weights` of {backbone} must be none, "
            f"{'' if backbone.startswith('torchvision') else 'imagenet, '}or {what}. "
            f"Received: weights={weights!r}, {wrong}."
        )
    digest = file_digest(path)
    return Weights(path, "a given file", digest, UNKNOWN_LICENCE, "unverified")
