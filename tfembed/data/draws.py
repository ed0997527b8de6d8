"""Random numbers for keras-cv layers that depend on a seed tensor and nothing else.

keras-cv layers draw from generators that remember how often they were asked: what a
batch gets depends on which batches came before it, and, where several calls run at
once, on which came first. `Draws` stands in for both kinds of generator they hold,
`layer._random_generator` and the factor samplers, and computes each number from the
seed of the batch and the place of the draw within it. A training run can so be
resumed at any step, and batches augmented in parallel, with the same result.
"""

import contextlib

import tensorflow as tf

__all__ = [
    "Draws",
    "draw_boxes",
    "lent_generator",
    "stateless_factor",
    "use_draws",
]


@contextlib.contextmanager
def lent_generator():
    """Lends keras-cv a global generator where there may be none.

    Its layers ask for one when they are made, which TensorFlow refuses where
    operations have to be deterministic and none was set. They draw from `Draws` and
    never from it, so that it goes away again.
    """
    try:
        tf.random.get_global_generator()
    except RuntimeError:
        tf.random.set_global_generator(tf.random.Generator.from_seed(0))
        try:
            yield
        finally:
            tf.random.set_global_generator(None)
    else:
        yield


class Draws:
    """Counts the draws of one batch and makes each from the batch's seed."""

    def __init__(self):
        """Waits for `start`."""
        self._seed = None
        self._count = 0

    def start(self, seed):
        """Starts a batch.

        Args:
            seed: int32 or int64 tensor `[2]`, as `tf.random.stateless_uniform` takes.
        """
        self._seed = seed
        self._count = 0

    def uniform(self, shape=(), minval=0.0, maxval=1.0, dtype=tf.float32):
        """Draws as `tf.random.Generator.uniform` does, without its state."""
        if self._seed is None:
            raise RuntimeError("Call `start(seed)` before drawing.")
        self._count += 1
        seed = tf.random.experimental.stateless_fold_in(self._seed, self._count)
        return tf.random.stateless_uniform(shape, seed, minval, maxval, dtype)


def draw_boxes(draws, count, strengths):
    """Draws what is cropped out of each image.

    Args:
        draws: The `Draws`.
        count: Number of images.
        strengths: `Strengths`, with `crop_area` and `crop_aspect`.

    Returns:
        float32 `[count, 4]`: top, left, bottom, right, in 0..1.
    """
    area = draws.uniform((count,), *strengths.crop_area)
    aspect = draws.uniform((count,), *strengths.crop_aspect)
    height = tf.minimum(tf.sqrt(area / aspect), 1.0)
    width = tf.minimum(tf.sqrt(area * aspect), 1.0)
    top = draws.uniform((count,)) * (1.0 - height)
    left = draws.uniform((count,)) * (1.0 - width)
    return tf.stack([top, left, top + height, left + width], axis=-1)


def stateless_factor(draws, lower, upper, transform=None):
    """A keras-cv factor sampler that draws from `draws`.

    Args:
        draws: The `Draws`.
        lower: Lower end of the uniform distribution.
        upper: Upper end.
        transform: Applied to what was drawn, where the layer's factor is not the
            quantity that should be uniform.

    Returns:
        A `keras_cv.core.FactorSampler`.
    """
    import keras_cv

    class Factor(keras_cv.core.FactorSampler):
        def __call__(self, shape=(), dtype="float32"):
            drawn = draws.uniform(shape, lower, upper, dtype)
            return drawn if transform is None else transform(drawn)

        def get_config(self):
            return {"lower": lower, "upper": upper}

    return Factor()


def use_draws(layer, draws):
    """Makes a keras-cv layer draw from `draws`, and checks that nothing else is left.

    Args:
        layer: A keras-cv layer without layers inside it.
        draws: The `Draws`.

    Returns:
        The layer.

    Raises:
        TypeError: If the layer holds a source of random numbers that cannot be
            replaced.
    """
    import keras_cv

    layer._random_generator = draws
    for name, value in vars(layer).items():
        fixed = isinstance(value, keras_cv.core.ConstantFactorSampler)
        if isinstance(value, keras_cv.core.FactorSampler) and not fixed:
            if type(value).__qualname__.startswith(stateless_factor.__name__):
                continue
            raise TypeError(
                "`layer` must draw its factors with `stateless_factor`. "
                f"Received: {type(layer).__name__}.{name}={value!r}. "
                "Give the layer such a factor."
            )
    return layer
