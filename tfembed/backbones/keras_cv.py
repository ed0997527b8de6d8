"""keras-cv's backbones, built from their constructors.

`keras_cv.models.Backbone.from_preset`, and the aliases named after a size, ask a
server for the configuration even when no weights are wanted. The constructors do not.

What is returned is a plain functional model of Keras' own layers, not keras-cv's
class, so that a saved encoder loads without keras-cv. Listed are families for which
that holds.
"""

import os

from tensorflow import keras

from tfembed.backbones.download import file_digest
from tfembed.backbones.scaling import as_rgb, pool
from tfembed.backbones.seeding import seed_kernels
from tfembed.backbones.synchronized import synchronize
from tfembed.backbones.weights_file import Weights
from tfembed.quiet_imports import import_keras_cv

__all__ = ["find_preset", "keras_cv_backbone"]

_RESNETS = {
    "resnet18": ([2, 2, 2, 2], "basic_block"),
    "resnet34": ([3, 4, 6, 3], "basic_block"),
    "resnet50": ([3, 4, 6, 3], "block"),
    "resnet101": ([3, 4, 23, 3], "block"),
    "resnet152": ([3, 8, 36, 3], "block"),
}
_DENSENETS = {
    "densenet121": [6, 12, 24, 16],
    "densenet169": [6, 12, 32, 32],
    "densenet201": [6, 12, 48, 32],
}


_PRESETS = {
    "densenet121": "keras/densenet/keras/densenet121_imagenet/2",
    "densenet169": "keras/densenet/keras/densenet169_imagenet/2",
    "densenet201": "keras/densenet/keras/densenet201_imagenet/2",
    "resnet50": "keras/resnetv1/keras/resnet50_imagenet/2",
    "resnet50_v2": "keras/resnetv2/keras/resnet50_v2_imagenet/2",
}
_PRESET_FILE = "model.weights.h5"


def find_preset(variant, say=None):
    """Finds the weights of keras-cv's ImageNet preset, or downloads them from Kaggle.

    They are looked for where kagglehub keeps its files, and kagglehub downloads them,
    with its own progress.

    Raises:
        ValueError: If there is no such preset, or the file cannot be downloaded.
        ImportError: If keras-cv, which brings kagglehub, is missing.
    """
    if variant not in _PRESETS:
        raise ValueError(
            "keras-cv has ImageNet weights of "
            f"{', '.join(f'keras_cv:{name}' for name in _PRESETS)}. Received: "
            f"keras_cv:{variant}."
        )
    try:
        import kagglehub
        from kagglehub.config import get_cache_folder
    except ImportError as error:
        raise ImportError(
            f"The weights of 'keras_cv:{variant}' need kagglehub, which could not be "
            f"imported ({error}). Install it with `pip install 'tfembed[augment]'`."
        ) from error
    handle = _PRESETS[variant]
    folder = os.path.join(get_cache_folder(), "models", *handle.split("/"))
    path = os.path.join(folder, _PRESET_FILE)
    if not os.path.isfile(path):
        if say is not None:
            say(f"downloading {_PRESET_FILE} of {handle}")
        try:
            path = kagglehub.model_download(handle, _PRESET_FILE)
        except Exception as error:  # of requests, of kagglehub, of the disk
            words = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"The weights of keras_cv:{variant} are the file {_PRESET_FILE} of "
                f"Kaggle's model {handle}, for which no hash is stated. Received: none "
                f"in {folder}, and from Kaggle: {words} Download it where there is a "
                f"network, and put it into {folder}."
            ) from error
    return Weights(
        path,
        f"https://www.kaggle.com/models/{handle}",
        file_digest(path),
        "Apache-2.0 (keras-cv)",
        "unverified",
    )


def keras_cv_backbone(
    variant, image_shape, synchronized, weights=None, seed=None, pooling="avg"
):
    """Builds the backbone `keras_cv:variant`.

    Args:
        variant: Its name.
        image_shape: `(height, width, channels)`; where weights are given, grey images
            become three channels.
        synchronized: As in `build_backbone`.
        weights: A `Weights`, or `None`.
        seed: Of the initial weights, where none are given.
        pooling: As in `tfembed.backbones.scaling.pool`.
    """
    try:
        models = import_keras_cv().models
    except ImportError as error:
        raise ImportError(
            f"The backbone 'keras_cv:{variant}' needs keras-cv, which could not be "
            f"imported ({error}). Install it with `pip install 'tfembed[augment]'`."
        ) from error
    shape = image_shape if weights is None else (*image_shape[:2], 3)
    backbone = _construct(models, variant, shape)
    if weights is not None:
        _load(backbone, variant, weights.path)
    features = pool(backbone.outputs[0], pooling)
    model = keras.Model(backbone.inputs[0], features, name=f"keras_cv_{variant}")
    if weights is None and seed is not None:
        seed_kernels(model, seed)
    if synchronized:  # which keras-cv's constructors do not take
        model = synchronize(model)
    if shape != image_shape:
        images = keras.Input(image_shape, name="images")
        model = keras.Model(images, model(as_rgb(images)), name=model.name)
    return model


def _load(backbone, variant, path):
    from keras_cv.src.utils import preset_utils

    try:
        if hasattr(backbone, "_layer_checkpoint_dependencies"):  # Keras 2
            preset_utils.legacy_load_weights(backbone, path)
        else:
            backbone.load_weights(path)
    except (ValueError, OSError, KeyError, TypeError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path!r} must hold the weights of keras-cv's {variant}. Loading it says: "
            f"{words} Give the file of that network."
        ) from error


def _construct(models, variant, image_shape):
    shared = {"include_rescaling": True, "input_shape": image_shape}
    if variant in _DENSENETS:
        if min(image_shape[:2]) < 32:
            raise ValueError(
                f"`image_shape` must have sides of 32 or more for 'keras_cv:{variant}',"
                f" which halves them five times. Received: image_shape={image_shape}."
            )
        repeats = _DENSENETS[variant]
        return models.DenseNetBackbone(stackwise_num_repeats=repeats, **shared)
    depth, _, version = variant.partition("_")
    blocks, block_type = _RESNETS[depth]
    backbone = models.ResNetV2Backbone if version else models.ResNetBackbone
    return backbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=blocks,
        stackwise_strides=[1, 2, 2, 2],
        block_type=block_type,
        **shared,
    )
