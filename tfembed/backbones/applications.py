"""The networks of `keras.applications`, with or without their ImageNet weights.

Each is built without weights, and the file is found in Keras' cache or downloaded,
checked against what Keras states of it, and loaded. Images are 0..255 at the door; each
family's own scaling is inside, in float32, by layers of Keras. (ResNet's is BGR less
means, which is a reversal of the first kernel's input channels and a normalisation.)

Names, addresses and hashes are those of Keras 2.15 and Keras 3, which are the same. The
EfficientNets of the first version are not among them: what they compute hangs on the
word "imagenet" in Keras' constructor.
"""

import os
from typing import NamedTuple, Optional

from tfembed.backbones.download import download, file_digest, has_hash
from tfembed.backbones.weights_file import Weights

__all__ = ["APPLICATIONS", "applications_backbone", "find_imagenet"]

SERVER = "https://storage.googleapis.com/tensorflow/keras-applications"
_APACHE = "Apache-2.0"


class _Application(NamedTuple):
    """What Keras states of a network's file without its classifier."""

    folder: str
    file: str
    hash: Optional[str]
    scaling: str
    licence: str = _APACHE


def _resnet(name, digest):
    file = f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    return _Application("resnet", file, digest, "bgr", "MIT (He et al. 2015)")


def _mobilenet_v3(size, digest):
    file = f"weights_mobilenet_v3_{size}_224_1.0_float_no_top_v2.h5"
    return _Application("mobilenet_v3", file, digest, "ends")


def _efficientnet_v2(size, digest, scaling="imagenet"):
    file = f"efficientnetv2-{size}_notop.h5"
    return _Application("efficientnet_v2", file, digest, scaling)


def _convnext(size, digest):
    file = f"convnext_{size}_notop.h5"
    return _Application("convnext", file, digest, "imagenet", "MIT (Liu et al. 2022)")


APPLICATIONS = {
    "ResNet50": _resnet("resnet50", "4d473c1dd8becc155b73f8504c6f6626"),
    "ResNet101": _resnet("resnet101", "88cf7a10940856eca736dc7b7e228a21"),
    "MobileNetV2": _Application(
        "mobilenet_v2",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        None,
        "ends",
    ),
    "MobileNetV3Small": _mobilenet_v3("small", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    "MobileNetV3Large": _mobilenet_v3("large", "07fb09a5933dd0c8eaafa16978110389"),
    "EfficientNetV2B0": _efficientnet_v2("b0", "893217f2bb855e2983157299931e43ff"),
    "EfficientNetV2B1": _efficientnet_v2("b1", "0e80663031ca32d657f9caa404b6ec37"),
    "EfficientNetV2B2": _efficientnet_v2("b2", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "EfficientNetV2B3": _efficientnet_v2("b3", "f6abf7b5849ac99a89b50dd3fd532856"),
    "EfficientNetV2S": _efficientnet_v2(
        "s", "af0682fb74e8c54910f2d4393339c070", "ends128"
    ),
    "ConvNeXtTiny": _convnext(
        "tiny", "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"
    ),
    "ConvNeXtSmall": _convnext(
        "small", "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"
    ),
    "ConvNeXtBase": _convnext(
        "base", "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"
    ),
    "DenseNet121": _Application(
        "densenet",
        "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "30ee3e1110167f948a6b9946edeeb738",
        "imagenet",
        "BSD-3-Clause (Huang et al. 2017)",
    ),
}
_BGR_MEANS = (123.68, 116.779, 103.939)  # of red, green and blue
_LEAST_SIDE = 32


def find_imagenet(variant, say=None):
    """Finds the ImageNet weights of a network in Keras' cache, or downloads them.

    Raises:
        ValueError: If the file is not there, or broken, and cannot be downloaded.
    """
    application = APPLICATIONS[variant]
    url = f"{SERVER}/{application.folder}/{application.file}"
    folders = _cache_folders()
    for folder in folders:
        path = os.path.join(folder, application.file)
        if os.path.isfile(path) and _is_right(path, application.hash):
            return _weights(application, path, url)
    path = os.path.join(folders[0], application.file)
    broken = os.path.isfile(path)
    try:
        download(url, path, application.hash, say)
    except OSError as error:
        stated = "for which Keras states no hash"
        if application.hash:
            stated = f"whose {_kind(application.hash)} is {application.hash}"
        there = (
            f"another file of that name in {folders[0]}"
            if broken
            else (f"none in {folders[0]}")
        )
        raise ValueError(
            f"The weights of applications:{variant} are the file {application.file}, "
            f"{stated}. Received: {there}, and from {url}: {error.strerror}. Download "
            f"it where there is a network, and put it into {folders[0]}."
        ) from error
    return _weights(application, path, url)


def _weights(application, path, url):
    checked = "unverified"
    if application.hash:
        checked = f"{_kind(application.hash)} {application.hash}, as Keras states it"
    return Weights(path, url, file_digest(path), application.licence, checked)


def _kind(digest):
    return "MD5" if len(digest) == 32 else "SHA-256"


def _is_right(path, expected):
    return expected is None or has_hash(path, expected)


def _cache_folders():
    """Returns where Keras keeps such files: Keras 3 honours KERAS_HOME, Keras 2 not."""
    default = os.path.join(os.path.expanduser("~"), ".keras", "models")
    home = os.environ.get("KERAS_HOME")
    return [os.path.join(home, "models"), default] if home else [default]


def applications_backbone(
    variant, image_shape, synchronized, weights=None, seed=None, pooling="avg"
):
    """Builds the backbone `applications:variant`.

    Args:
        variant: A name in `APPLICATIONS`.
        image_shape: `(height, width, channels)`; grey images become three channels.
        synchronized: As in `build_backbone`.
        weights: A `Weights`, or `None`.
        seed: Of the initial weights, where none are given.
        pooling: As in `tfembed.backbones.scaling.pool`.
    """
    from tensorflow import keras

    from tfembed.backbones.scaling import as_rgb, pool
    from tfembed.backbones.seeding import seed_kernels
    from tfembed.backbones.synchronized import synchronize

    if min(image_shape[:2]) < _LEAST_SIDE:
        raise ValueError(
            f"`image_shape` must have sides of {_LEAST_SIDE} or more for "
            f"'applications:{variant}'. Received: image_shape={image_shape}."
        )
    base = _construct(variant, (*image_shape[:2], 3))
    if weights is not None:
        _load(base, variant, weights.path)
    elif seed is not None:
        seed_kernels(base, seed)
    if synchronized:
        base = synchronize(base)
    images = keras.Input(image_shape, name="images")
    x = _SCALINGS[APPLICATIONS[variant].scaling](as_rgb(images))
    if variant.startswith("ConvNeXt"):  # which normalises what it has pooled
        features = pool(keras.Model(base.input, base.layers[-2].input)(x), pooling)
        features = base.layers[-1](features)
        as_float32 = keras.layers.Activation("linear", dtype="float32")
        features = as_float32(features)
    else:
        features = pool(base(x), pooling)
    return keras.Model(images, features, name=f"applications_{variant}")


def _bgr(images):
    from tfembed.backbones.scaling import normalize

    return normalize(images, _BGR_MEANS, (1.0, 1.0, 1.0))


def _imagenet(images):
    from tfembed.backbones.scaling import normalize_imagenet

    return normalize_imagenet(images)


def _ends(images, half=127.5):
    from tfembed.backbones.scaling import to_ends

    return to_ends(images, half)


_SCALINGS = {
    "bgr": _bgr,
    "ends": _ends,
    "ends128": lambda images: _ends(images, 128.0),
    "imagenet": _imagenet,
}


def _construct(variant, image_shape):
    """Builds the network, its own scaling left out.

    Without `name=`, on which ConvNeXt's file and EfficientNetV2's scaling hang.
    """
    from tensorflow import keras

    constructor = getattr(keras.applications, variant)
    options = {"include_top": False, "weights": None, "input_shape": image_shape}
    if variant.startswith(("ConvNeXt", "EfficientNetV2", "MobileNetV3")):
        options["include_preprocessing"] = False
    if variant.startswith("ConvNeXt"):
        options["pooling"] = "avg"
    return constructor(**options)


def _load(base, variant, path):
    try:
        base.load_weights(path)
    except (ValueError, OSError, KeyError, TypeError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path!r} must hold the weights of keras.applications.{variant} without "
            f"its classifier (include_top=False). Loading it says: {words} Give the "
            "file of that network."
        ) from error
    if APPLICATIONS[variant].scaling == "bgr":
        first = base.get_layer("conv1_conv")
        kernel, bias = first.get_weights()
        first.set_weights([kernel[:, :, ::-1], bias])
