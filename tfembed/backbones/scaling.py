"""What every backbone does to images first and to its feature map last."""

from tensorflow import keras

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "as_rgb",
    "normalize",
    "normalize_imagenet",
    "pool",
    "scale",
    "to_ends",
]

# Of the three channels, where images are 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def scale(images):
    """Brings images from 0..255 to 0..1, in float32 under any policy."""
    return keras.layers.Rescaling(1 / 255, dtype="float32", name="scale")(images)


def to_ends(images, half=127.5):
    """Brings images from 0..255 to -1..1, in float32 under any policy."""
    layer = keras.layers.Rescaling(1 / half, -1.0, dtype="float32", name="scale")
    return layer(images)


def normalize(images, mean, std):
    """Takes each channel's mean off images 0..255 and divides by its deviation.

    In float32 under any policy.
    """
    layer = keras.layers.Normalization(
        mean=list(mean),
        variance=[each**2 for each in std],
        dtype="float32",
        name="normalize",
    )
    return layer(images)


def normalize_imagenet(images):
    """Normalises images 0..255 by ImageNet's mean and deviation, as PyTorch has it."""
    mean = [255 * each for each in IMAGENET_MEAN]
    return normalize(images, mean, [255 * each for each in IMAGENET_STD])


def as_rgb(images):
    """Gives grey images three channels, which pretrained networks have."""
    if images.shape[-1] == 3:
        return images
    return keras.layers.Concatenate(name="as_rgb", dtype="float32")([images] * 3)


def pool(features, kind="avg"):
    """Pools a feature map over the image, in float32 under any policy.

    Args:
        features: Symbolic, `(batch, height, width, f)`.
        kind: `"avg"`; `"max"`; or `"gem"`, the generalised mean of a trained power.
    """
    if kind == "gem":
        from tfembed.layers import GeneralizedMean

        return GeneralizedMean(dtype="float32", name="pool")(features)
    layers = keras.layers
    layer = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}
    return layer[kind](dtype="float32", name="pool")(features)
