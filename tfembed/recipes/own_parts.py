"""A user's own augmentation and callbacks, named on the command line as `module:name`.

What is named is imported and called: it is as trusted as the command itself.
"""

import numpy as np

from tfembed.registry import find_named, is_own

__all__ = ["FAST", "check_names", "find_augmentation", "find_callbacks"]


def check_names(flag, names):
    """Raises unless each name has the form `module:name`; imports nothing."""
    for name in names.split(","):
        if not is_own(name.strip()):
            raise ValueError(
                f"--{flag} takes names of the form module:name, such as "
                f"my_package.my_module:my_function. Received: {name.strip()!r}."
            )


FAST = "fast"
"""The name of our own `FastAugmentation`, where `--augmentation` names a user's."""


def find_augmentation(name, image_shape):
    """Returns a user's augmentation, tried on two images.

    Args:
        name: `module:function`, called as `function(images, seed)` inside of `tf.data`:
            images float32 `[b, height, width, channels]` in 0..255, seed int32 `[2]`;
            it returns images of the same shape, and the same ones each time.
        image_shape: `(height, width, channels)`.

    Returns:
        A function of images of any real dtype and a seed, to float32.

    Raises:
        ValueError: If it is not callable, or returns something else.
    """
    import tensorflow as tf

    function = find_named("augmentation", name)
    if not callable(function):
        raise ValueError(
            "--augmentation must name a function of images and a seed. "
            f"Received: {name!r}, a {type(function).__name__}."
        )

    def augmentation(images, seed):
        images = tf.cast(images, tf.float32)
        augmented = tf.cast(function(images, seed), tf.float32)
        return tf.ensure_shape(augmented, images.shape)

    pixels = np.random.default_rng(0).integers(0, 256, (2, *image_shape))
    images, seed = tf.constant(pixels, tf.float32), tf.constant([1, 2], tf.int32)
    with tf.device("CPU:0"):
        first, again = (
            np.asarray(function(tf.identity(images), seed)) for _ in range(2)
        )
    problem = None
    if first.shape != images.shape or first.dtype.kind not in "fiu":
        problem = (
            f"which makes {first.dtype} of shape {first.shape} of images of shape "
            f"{tuple(images.shape)}"
        )
    elif not np.isfinite(first).all():
        problem = "which makes values that are not finite"
    elif not np.array_equal(first, again):
        problem = (
            "which makes other images of the same ones and the same seed, so that a "
            "run could not go on as it began; draw with tf.random.stateless_uniform"
        )
    if problem:
        raise ValueError(
            "--augmentation must name a function that returns images like those it is "
            f"given, determined by the seed. Received: {name!r}, {problem}."
        )
    return augmentation


def find_callbacks(names):
    """Returns a user's callbacks.

    Args:
        names: `module:name`, several with commas between; each a Keras callback, a
            class of one, or a function that returns one or a list of them. Classes and
            functions are called without arguments.

    Raises:
        ValueError: If one is something else.
    """
    from tensorflow import keras

    callbacks = []
    for name in (part.strip() for part in names.split(",")):
        made = find_named("callbacks", name)
        if not isinstance(made, keras.callbacks.Callback) and callable(made):
            made = made()
        made = list(made) if isinstance(made, (list, tuple)) else [made]
        for each in made:
            if not isinstance(each, keras.callbacks.Callback):
                raise ValueError(
                    "--callbacks must name Keras callbacks, or what returns them when "
                    f"it is called without arguments. Received: {name!r}, which gives "
                    f"a {type(each).__name__}."
                )
        callbacks += made
    return callbacks
