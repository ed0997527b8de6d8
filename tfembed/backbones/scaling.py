"""What every backbone does to images first and to its feature map last."""

from tensorflow import keras

__all__ = ["pool", "scale"]


def scale(images):
    """Brings images from 0..255 to 0..1, in float32 under any policy."""
    return keras.layers.Rescaling(1 / 255, dtype="float32", name="scale")(images)


def pool(features):
    """Averages a feature map over the image, in float32 under any policy."""
    layer = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool")
    return layer(features)
