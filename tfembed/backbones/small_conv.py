"""A small convolutional net for small images and CPUs, 242 thousand weights."""

from tensorflow import keras

from tfembed.backbones.scaling import pool, scale

__all__ = ["small_conv"]

_WIDTHS_AND_STRIDES = ((32, 2), (64, 2), (128, 2), (128, 1))


def small_conv(image_shape, synchronized, pooling="avg"):
    """Four times convolution 3x3, batch norm, ReLU; strides 2, 2, 2, 1; then mean."""
    images = keras.Input(image_shape, name="images")
    x = scale(images)
    for number, (width, stride) in enumerate(_WIDTHS_AND_STRIDES, start=1):
        x = keras.layers.Conv2D(
            width,
            3,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv{number}",
        )(x)
        x = keras.layers.BatchNormalization(
            synchronized=synchronized, name=f"norm{number}"
        )(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
    return keras.Model(images, pool(x, pooling), name="small_conv")
