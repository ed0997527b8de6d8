"""Given weights of a backbone: which file, from where, and whether it is the one."""

import dataclasses
import os

__all__ = ["Weights", "find_weights"]

FAMILIES = ("applications", "keras_cv", "torchvision")
UNKNOWN_LICENCE = "as whoever published the file says"


@dataclasses.dataclass(frozen=True)
class Weights:
    """A file of weights that is on this machine.

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

    def record(self):
        """Returns what a run and a model card say of the weights."""
        facts = dataclasses.asdict(self)
        return {"file": os.path.basename(facts.pop("path")), **facts}


def find_weights(backbone, weights, say=None):
    """Finds the weights of a backbone; downloads them if they are asked for by name.

    Args:
        backbone: A name in `tfembed.backbones.BACKBONES`.
        weights: `None` or `"none"`; `"imagenet"`, for `applications:` and `keras_cv:`,
            from Keras' own servers; or a file: HDF5 as Keras writes it for these, and
            for `torchvision:` what PyTorch or safetensors wrote. A `Weights` is given
            back as it is.
        say: Function that is given a line of progress now and then; standard error by
            default.

    Returns:
        A `Weights`, or `None` for none.

    Raises:
        ValueError: If the backbone takes no such weights, there is no such file, or it
            cannot be downloaded.
    """
    if weights is None or isinstance(weights, Weights):
        return weights
    weights = os.fspath(weights)
    if weights == "none":
        return None
    family, _, variant = backbone.partition(":")
    if family not in FAMILIES:
        raise ValueError(
            "`weights` go with the backbones applications:NAME, keras_cv:NAME and "
            f"torchvision:NAME. Received: weights={weights!r}, backbone={backbone!r}. "
            "One of your own or of another package, such as keras:FILE or "
            "module:function, brings its own."
        )
    if family == "torchvision":
        from tfembed.backbones.torchvision import find_file

        return find_file(variant, weights)
    if weights == "imagenet" and family == "applications":
        from tfembed.backbones.applications import find_imagenet

        return find_imagenet(variant, say)
    if weights == "imagenet":
        from tfembed.backbones.keras_cv import find_preset

        return find_preset(variant, say)
    return own_file(backbone, weights, (".h5",), "an HDF5 file that Keras wrote (.h5)")


def own_file(backbone, weights, endings, what):
    """Returns the `Weights` of a file that the user names.

    Args:
        backbone: The backbone's name, for an error.
        weights: The file.
        endings: What its name may end in.
        what: What it is to be, for an error.
    """
    from tfembed.backbones.download import file_digest

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
