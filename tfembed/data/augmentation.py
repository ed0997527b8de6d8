"""The augmentation of instance discrimination, with keras-cv's layers.

Wu et al. 2018 (https://arxiv.org/abs/1805.01978), section 4: a random resized crop,
colour jitter, random grayscale, a horizontal flip. It belongs into the training
`tf.data` pipeline, after batching, and never into a model: keras-cv layers augment
whatever `training` says.

What the strengths mean, beside torchvision's, whose numbers papers give:

| argument | here, for an image in 0..255 | torchvision |
|---|---|---|
| `crop_area=(a, b)` | area of the crop, U(a, b) of the image's | `scale`, the same |
| `crop_aspect=(a, b)` | width / height, U(a, b) | `ratio`, uniform in the logarithm |
| `brightness=s` | adds 255 U(-s, s) | multiplies by U(1-s, 1+s) |
| `contrast=s` | times U(1-s, 1+s) about each channel's mean | about the mean gray |
| `saturation=s` | HSV saturation times U(1-s, 1+s) | blends with gray, same range |
| `hue=s` | turns the hue by U(-s, s) of a full turn | the same |
| `grayscale=p` | gray with probability p | the same |
| `flip=p` | mirrored with probability p | the same |

A crop that would not fit is narrowed to the image (torchvision draws again). The
steps of the jitter come in the order above (torchvision's in random order). The same
number for `brightness` is about twice as strong here for a mid-gray pixel.

keras-cv's factors differ from these: its saturation factor f multiplies by f / (1-f),
so 0.5 changes nothing; its hue factor f turns by up to f / 2. The layers below are
given factors that make the table true.

keras-cv's own `RandomCropAndResize` and `RandomApply` go through a batch image by
image in a `while_loop`, and say so in ten lines of log for each trace. The two layers
here that take their place, made on keras-cv's own base class for batches, compute the
same crops and the same gray in one op for the whole batch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import tensorflow as tf

from tfembed.data.draws import (
    Draws,
    draw_boxes,
    lent_generator,
    stateless_factor,
    use_draws,
)
from tfembed.data.strengths import Strengths
from tfembed.hints import Array
from tfembed.quiet_imports import import_keras_cv

__all__ = ["Augmentation"]


class Augmentation(Strengths):
    """Augments batches of images; a function of the images and a seed alone.

    >>> from tfembed.data import Augmentation
    >>> augmentation = Augmentation((32, 32, 3), flip=0.5)
    >>> images = tf.zeros([8, 32, 32, 3], tf.uint8)
    >>> augmentation(images, seed=[1, 2]).shape
    TensorShape([8, 32, 32, 3])

    Args:
        image_shape: `(height, width, channels)`, channels 1 or 3. One channel leaves
            out saturation, hue and grayscale, which have no meaning there.
        crop_area: Smallest and largest share of the image's area in a crop; `None`
            or `(1, 1)` for no crop.
        crop_aspect: Smallest and largest aspect ratio, width over height, of a crop.
        brightness: Strength in 0..1.
        contrast: Strength in 0..1.
        saturation: Strength in 0..1.
        hue: Strength in 0..0.5.
        grayscale: Probability.
        flip: Probability of a horizontal flip.

    A strength or probability of 0 leaves the step out. The table at the head of this
    file says what each means. `FastAugmentation` makes the same images in less time.

    The layers compute in float32 whatever the mixed-precision policy is.

    Raises:
        ValueError: If an argument is out of its range.
        ImportError: If keras-cv is not installed and a step needs it.
    """

    def _make(self):
        """Makes the layers."""
        self._draws = Draws()
        self._lock = threading.Lock()  # one batch at a time draws from `_draws`
        self.layers = self._build()

    def _build(self):
        """Makes the layers of the steps whose strength is not 0, in order."""
        colour = self.colour
        steps = [
            (self.crops, _crop_layer),
            (self.brightness, _brightness_layer),
            (self.contrast, _contrast_layer),
            (colour and self.saturation, _saturation_layer),
            (colour and self.hue, _hue_layer),
            (colour and self.grayscale, _grayscale_layer),
            (self.flip, _flip_layer),
        ]
        makers = [maker for wanted, maker in steps if wanted]
        if makers:
            _require_keras_cv()
        with lent_generator():
            layers = [maker(self, self._draws) for maker in makers]
        return [use_draws(layer, self._draws) for layer in layers]

    def __call__(self, images: Array, seed: Array | Sequence[int]) -> tf.Tensor:
        """Augments a batch.

        Args:
            images: Tensor `[b, height, width, channels]` in 0..255, any real dtype.
            seed: int32 or int64 tensor `[2]`. Equal seeds give equal results for the
                same images and batch size; rows of a batch are drawn independently.

        Returns:
            float32 tensor of the same shape in 0..255.
        """
        images = tf.cast(images, tf.float32)
        images = tf.ensure_shape(images, (None, *self.image_shape))
        shape = images.shape
        with self._lock:
            self._draws.start(tf.convert_to_tensor(seed))
            for layer in self.layers:
                images = layer(images)
        images = tf.clip_by_value(tf.cast(images, tf.float32), 0.0, 255.0)
        return tf.ensure_shape(images, shape)


def _require_keras_cv():
    try:
        import_keras_cv()
    except ImportError as error:
        raise ImportError(
            "Augmentation is made of keras-cv's layers, which could not be imported "
            f"({error}). Install them with `pip install 'tfembed[augment]'`."
        ) from error


def _crop_layer(strengths, draws):
    import keras_cv

    class RandomCropAndResize(keras_cv.layers.VectorizedBaseImageAugmentationLayer):
        """keras-cv's layer of this name, for a whole batch in one op."""

        def get_random_transformation_batch(self, batch_size, images=None, **kwargs):
            # The batch's size in Python, where it is known, spares the log a line from
            # TensorFlow's cost model for each graph.
            batch_size = batch_size if images is None else images.shape[0] or batch_size
            return draw_boxes(draws, batch_size, strengths)

        def augment_images(self, images, transformations, **kwargs):
            return tf.image.crop_and_resize(
                images,
                transformations,
                tf.range(tf.shape(images)[0]),
                strengths.image_shape[:2],
            )

    return RandomCropAndResize(dtype="float32")


def _brightness_layer(strengths, draws):
    import keras_cv

    strength = strengths.brightness
    return keras_cv.layers.RandomBrightness(
        factor=stateless_factor(draws, -strength, strength),
        value_range=(0, 255),
        dtype="float32",
    )


def _contrast_layer(strengths, draws):
    import keras_cv

    strength = strengths.contrast
    layer = keras_cv.layers.RandomContrast(
        value_range=(0, 255), factor=strength, dtype="float32"
    )
    # Its constructor does arithmetic on the factor and so takes no sampler.
    layer.factor = stateless_factor(draws, 1.0 - strength, 1.0 + strength)
    return layer


def _saturation_layer(strengths, draws):
    import keras_cv

    strength = strengths.saturation
    return keras_cv.layers.RandomSaturation(
        factor=stateless_factor(
            draws, 1.0 - strength, 1.0 + strength, lambda times: times / (1.0 + times)
        ),
        dtype="float32",
    )


def _hue_layer(strengths, draws):
    import keras_cv

    return keras_cv.layers.RandomHue(
        factor=stateless_factor(draws, 0.0, 2.0 * strengths.hue),
        value_range=(0, 255),
        dtype="float32",
    )


def _grayscale_layer(strengths, draws):
    import keras_cv

    class RandomGrayscale(keras_cv.layers.Grayscale):
        """keras-cv's `Grayscale` for a random share of the images of a batch."""

        def get_random_transformation_batch(self, batch_size, **kwargs):
            drawn = draws.uniform((batch_size, 1, 1, 1))
            return drawn < strengths.grayscale

        def augment_images(self, images, transformations=None, **kwargs):
            return tf.where(transformations, super().augment_images(images), images)

    return RandomGrayscale(output_channels=3, dtype="float32")


def _flip_layer(strengths, draws):
    import keras_cv

    return keras_cv.layers.RandomFlip(
        mode="horizontal", rate=strengths.flip, dtype="float32"
    )
