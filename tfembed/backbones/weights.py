"""The weights that a backbone starts from: which file, from where, its hash checked."""

from __future__ import annotations

import os
from collections.abc import Callable

from tfembed.backbones.weights_file import Weights, own_file

__all__ = ["Weights", "find_weights"]

FAMILIES = ("applications", "keras_cv", "torchvision")


def find_weights(
    backbone: str,
    weights: str | Weights | None,
    say: Callable[[str], object] | None = None,
) -> Weights | None:
    """Finds the weights of a backbone; downloads them if they are asked for by name.

    >>> from tfembed.backbones import find_weights
    >>> find_weights("resnet50", "none") is None
    True
    >>> find_weights("applications:MobileNetV2", "no_such_file.h5")
    Traceback (most recent call last):
        ...
    ValueError: `weights` of applications:MobileNetV2 must be ... which is not a file.

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
