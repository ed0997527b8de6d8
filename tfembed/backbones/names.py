"""The names of the backbones, with what each is, and of how they pool."""

from __future__ import annotations

from tfembed.command_line import suggestion
from tfembed.registry import Told, is_findable

__all__ = ["BACKBONES", "POOLS", "check_backbone", "is_foreign"]

POOLS = ("avg", "max", "gem")

_OURS = {
    "small_conv": "four 3x3 convolutions, 32, 64, 128, 128 wide; 128 features",
    "resnet18_cifar": "ResNet-18 with a 3x3 stem, no max-pool; 512 features",
    "resnet50_cifar": "ResNet-50 with a 3x3 stem, no max-pool; 2,048 features",
    "resnet18": "ResNet-18 as for ImageNet; 512 features",
    "resnet50": "ResNet-50 as for ImageNet; 2,048 features",
    "keras_cv:resnet18": "keras-cv's ResNet-18; 512 features",
    "keras_cv:resnet34": "keras-cv's ResNet-34; 512 features",
    "keras_cv:resnet50": "keras-cv's ResNet-50; 2,048 features",
    "keras_cv:resnet101": "keras-cv's ResNet-101; 2,048 features",
    "keras_cv:resnet152": "keras-cv's ResNet-152; 2,048 features",
    "keras_cv:resnet18_v2": "keras-cv's ResNet-18 V2; 512 features",
    "keras_cv:resnet34_v2": "keras-cv's ResNet-34 V2; 512 features",
    "keras_cv:resnet50_v2": "keras-cv's ResNet-50 V2; 2,048 features",
    "keras_cv:resnet101_v2": "keras-cv's ResNet-101 V2; 2,048 features",
    "keras_cv:resnet152_v2": "keras-cv's ResNet-152 V2; 2,048 features",
    "keras_cv:densenet121": "keras-cv's DenseNet-121, sides of 32 on; 1,024 features",
    "keras_cv:densenet169": "keras-cv's DenseNet-169, sides of 32 on; 1,664 features",
    "keras_cv:densenet201": "keras-cv's DenseNet-201, sides of 32 on; 1,920 features",
    "torchvision:mobilenet_v2": "MobileNetV2 as in torchvision; 1,280 features",
    "torchvision:resnet18": "ResNet-18 as in torchvision; 512 features",
    "torchvision:resnet34": "ResNet-34 as in torchvision; 512 features",
    "torchvision:resnet50": "ResNet-50 as in torchvision; 2,048 features",
    "torchvision:resnet101": "ResNet-101 as in torchvision; 2,048 features",
    "applications:ResNet50": "Keras' ResNet-50, sides of 32 on; 2,048 features",
    "applications:ResNet101": "Keras' ResNet-101, sides of 32 on; 2,048 features",
    "applications:MobileNetV2": "Keras' MobileNetV2, sides of 32 on; 1,280 features",
    "applications:MobileNetV3Small": "Keras', sides of 32 on; 576 features",
    "applications:MobileNetV3Large": "Keras', sides of 32 on; 960 features",
    "applications:EfficientNetV2B0": "Keras', sides of 32 on; 1,280 features",
    "applications:EfficientNetV2B1": "Keras', sides of 32 on; 1,280 features",
    "applications:EfficientNetV2B2": "Keras', sides of 32 on; 1,408 features",
    "applications:EfficientNetV2B3": "Keras', sides of 32 on; 1,536 features",
    "applications:EfficientNetV2S": "Keras', sides of 32 on; 1,280 features",
    "applications:ConvNeXtTiny": "Keras', sides of 32 on; 768 features",
    "applications:ConvNeXtSmall": "Keras', sides of 32 on; 768 features",
    "applications:ConvNeXtBase": "Keras', sides of 32 on; 1,024 features",
    "applications:DenseNet121": "Keras', sides of 32 on; 1,024 features",
}

BACKBONES = Told("backbone", "tfembed.backbones", _OURS)
"""Each name with a line on it; after ours, those of installed packages."""


def is_foreign(name: str) -> bool:
    """Tells whether a backbone is another package's or a user's own; no import.

    >>> from tfembed.backbones import is_foreign
    >>> is_foreign("my.networks:tiny"), is_foreign("resnet50")
    (True, False)
    """
    return name not in BACKBONES.parts and (name in BACKBONES or is_findable(name))


def check_backbone(name: str, argument: str = "name") -> None:
    """Checks that there is a backbone of a name, and imports none.

    >>> from tfembed.backbones import check_backbone
    >>> check_backbone("resnet50")
    >>> check_backbone("resnet51")
    Traceback (most recent call last):
        ...
    ValueError: `name` must be one of small_conv, ... Did you mean ...?

    Args:
        name: As for `build_backbone`.
        argument: What it is called in an error.

    Raises:
        ValueError: If there is none.
    """
    if name in BACKBONES or name.startswith("keras:") or is_findable(name):
        return
    guess = suggestion(name, list(BACKBONES))
    raise ValueError(
        f"`{argument}` must be one of {', '.join(BACKBONES)}, or keras:FILE, a saved "
        "Keras model, or your own, module:function. "
        f"Received: {argument}={name!r}." + (guess and f" {guess}")
    )
