"""A backbone of few weights, so that what is kept of a run is small."""

from tensorflow import keras


def tiny(image_shape):
    """One convolution and the mean of its map."""
    images = keras.Input(image_shape, name="images")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="tiny")
