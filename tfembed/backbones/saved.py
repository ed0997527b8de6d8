"""A backbone of one's own, from a saved Keras model."""

from pathlib import Path

from tensorflow import keras

from tfembed.backbones.own import as_backbone

__all__ = ["saved_backbone"]


def saved_backbone(path, image_shape, pooling="avg"):
    """Loads a saved Keras model from images to features."""
    if not Path(path).exists():
        raise ValueError(
            "`name` must be keras:FILE, a saved Keras model from images to features. "
            f"Received: keras:{path}, which does not exist."
        )
    model = keras.models.load_model(path)
    return as_backbone(model, path, image_shape, pooling, "saved_backbone")
