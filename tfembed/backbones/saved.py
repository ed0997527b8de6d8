"""A backbone of one's own, from a saved Keras model."""

from pathlib import Path

from tensorflow import keras

from tfembed.backbones.scaling import pool

__all__ = ["saved_backbone"]


def saved_backbone(path, image_shape, pooling="avg"):
    """Loads a saved Keras model from images to features."""
    if not Path(path).exists():
        raise ValueError(
            "`name` must be keras:FILE, a saved Keras model from images to features. "
            f"Received: keras:{path}, which does not exist."
        )
    model = keras.models.load_model(path)
    wanted = (None, *image_shape)
    given = model.input_shape
    fits = isinstance(given, tuple) and len(given) == 4
    fits = fits and all(a in (None, b) for a, b in zip(given[1:], image_shape))
    if not fits or len(model.outputs) != 1 or len(model.output_shape) not in (2, 4):
        raise ValueError(
            f"The model {path!r} must map images {wanted} to features (batch, f) or a "
            f"feature map (batch, height, width, f). Received: one from {given} to "
            f"{model.output_shape}. Give --image-size, or save the part that fits."
        )
    images = keras.Input(image_shape, name="images")
    features = model(images)
    if len(features.shape) == 4:
        features = pool(features, pooling)
    elif pooling != "avg":
        raise ValueError(
            f"`pool` must be 'avg' where the model pools itself. Received: "
            f"pool={pooling!r}, and {path!r}, which gives features (batch, f)."
        )
    return keras.Model(images, features, name="saved_backbone")
