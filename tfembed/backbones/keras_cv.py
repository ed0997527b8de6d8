"""keras-cv's backbones, built from their constructors.

`keras_cv.models.Backbone.from_preset`, and the aliases named after a size, ask a
server for the configuration even when no weights are wanted. The constructors do not.

What is returned is a plain functional model of Keras' own layers, not keras-cv's
class, so that a saved encoder loads without keras-cv. Listed are families for which
that holds.
"""

from tensorflow import keras

from tfembed.backbones.scaling import pool

__all__ = ["keras_cv_backbone"]

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


def keras_cv_backbone(variant, image_shape, synchronized):
    """Builds the backbone `keras_cv:variant`."""
    try:
        from keras_cv import models
    except ImportError as error:
        raise ImportError(
            f"The backbone 'keras_cv:{variant}' needs keras-cv, which could not be "
            f"imported ({error}). Install it with `pip install 'tfembed[augment]'`."
        ) from error
    backbone = _construct(models, variant, image_shape)
    features = pool(backbone.outputs[0])
    model = keras.Model(backbone.inputs[0], features, name=f"keras_cv_{variant}")
    if synchronized:  # which keras-cv's constructors do not take
        model = keras.models.clone_model(model, clone_function=_synchronized)
    return model


def _synchronized(layer):
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config["synchronized"] = True
    return type(layer).from_config(config)


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
