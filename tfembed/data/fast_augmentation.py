"""The augmentation of `Augmentation` in stock operations, made for speed.

The same draws from the same seed, and so the same images up to rounding, by another way
of computing them:

- The crop and the flip are one `crop_and_resize`: a flipped box is one whose right edge
  is named first.
- The colours of small images are changed as a batch, on planes of one channel each, and
  never converted to HSV and back. With the greatest channel V, the chroma C = V - min
  and the hue h in sixths of a turn, a turned and scaled colour has the chroma
  C' = min(C f, V) and, for red, V - C' + C' clip(|h' - 3| - 1, 0, 1); green and blue
  likewise (the inverse of Smith's hexcone, 1978, "Color gamut transform pairs").
- Large images pass one at a time, so that they stay in the processor's caches, through
  TensorFlow's own kernels for contrast, saturation and hue, which take one number each.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfembed.data.draws import Draws, draw_boxes
from tfembed.data.strengths import Strengths
from tfembed.hints import Array

__all__ = ["FastAugmentation"]

_LARGE = 48 * 48  # pixels; as a batch, more than that leave the caches
_GRAY = (0.2989, 0.587, 0.114)  # as tf.image.rgb_to_grayscale


class FastAugmentation(Strengths):
    """Augments batches of images as `Augmentation` does, without keras-cv.

    Args:
        image_shape, crop_area, crop_aspect, brightness, contrast, saturation, hue,
            grayscale, flip: As in `Augmentation`, as are the steps and their order. The
            images of equal seeds differ by less than 0.05, where white is 255.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
    >>> augmentation = FastAugmentation((32, 32, 3), flip=0.0)
    >>> images = tf.zeros([8, 32, 32, 3], tf.uint8)
    >>> augmentation(images, seed=[1, 2]).shape
    TensorShape([8, 32, 32, 3])
    """

    def __call__(self, images: Array, seed: Array | Sequence[int]) -> tf.Tensor:
        """Augments a batch.

        Args:
            images: Tensor `[b, height, width, channels]` in 0..255, any real dtype.
            seed: int32 or int64 tensor `[2]`. Equal seeds give equal results for the
                same images and batch size; rows of a batch are drawn independently.

        Returns:
            float32 tensor of the same shape in 0..255.
        """
        images = tf.ensure_shape(images, (None, *self.image_shape))
        shape = images.shape
        count = shape[0] if shape[0] is not None else tf.shape(images)[0]
        draws = Draws()
        draws.start(tf.convert_to_tensor(seed))
        boxes = draw_boxes(draws, count, self) if self.crops else None
        changes = self._draw_changes(draws, count)
        flipped = draws.uniform((count,)) > 1.0 - self.flip if self.flip else None
        if boxes is None and flipped is not None:
            boxes = tf.tile([[0.0, 0.0, 1.0, 1.0]], [count, 1])
        if flipped is not None:
            mirrored = tf.gather(boxes, [0, 3, 2, 1], axis=1)
            boxes = tf.where(flipped[:, None], mirrored, boxes)
        if self.image_shape[0] * self.image_shape[1] > _LARGE:
            images = tf.map_fn(
                lambda one: self._augment_one(*one),
                (images, () if boxes is None else boxes, changes),
                fn_output_signature=tf.float32,
            )
            images = tf.reshape(images, (count, *self.image_shape))  # of none, too
        else:
            images = self._crop(images, boxes)
            images = _change_batch(images, changes) if changes else images
        images = tf.clip_by_value(images, 0.0, 255.0)
        return tf.ensure_shape(images, shape)

    def _draw_changes(self, draws, count):
        """Returns what is done to the colours, `{step: [count]}`."""
        changes = {}
        if self.brightness:
            drawn = draws.uniform((count,), -self.brightness, self.brightness)
            changes["brightness"] = 255.0 * drawn
        for step in ("contrast", "saturation"):
            strength = getattr(self, step)
            if strength and (step == "contrast" or self.colour):
                changes[step] = draws.uniform((count,), 1.0 - strength, 1.0 + strength)
        if self.colour and self.hue:
            back = draws.uniform((count,)) > 0.5
            turn = draws.uniform((count,), 0.0, self.hue)
            changes["hue"] = tf.where(back, -turn, turn)
        if self.colour and self.grayscale:
            changes["grayscale"] = draws.uniform((count,)) < self.grayscale
        return changes

    def _augment_one(self, image, box, changes):
        """Augments an image `[height, width, channels]`; a box `()` crops nothing."""
        boxes = None if isinstance(box, tuple) else box[None]
        return _change_one(self._crop(image[None], boxes)[0], changes)

    def _crop(self, images, boxes):
        """Crops and flips `[b, height, width, channels]` in one go, to float32."""
        if boxes is None:
            return tf.cast(images, tf.float32)
        rows = tf.range(tf.shape(boxes)[0])
        return tf.image.crop_and_resize(images, boxes, rows, self.image_shape[:2])


def _change_one(image, changes):
    """Changes the colours of `[height, width, channels]`, by scalars."""
    if "brightness" in changes:
        image = _in_range(image + changes["brightness"])
    if "contrast" in changes:
        times = changes["contrast"]
        image = _in_range(
            tf.raw_ops.AdjustContrastv2(images=image, contrast_factor=times)
        )
    if "saturation" in changes:
        times = changes["saturation"]
        image = tf.raw_ops.AdjustSaturation(images=image, scale=times)
    if "hue" in changes:
        image = tf.raw_ops.AdjustHue(images=image, delta=changes["hue"])
    if "grayscale" not in changes:
        return image
    return tf.cond(  # most often it keeps its colours
        changes["grayscale"],
        lambda: tf.tile(tf.image.rgb_to_grayscale(image), [1, 1, 3]),
        lambda: image,
    )


def _change_batch(images, changes):
    """Changes the colours of `[b, height, width, channels]`, by rows `[b]`."""
    changes = {name: value[:, None, None] for name, value in changes.items()}
    planes = tf.unstack(images, axis=-1)
    if "brightness" in changes:
        planes = [_in_range(plane + changes["brightness"]) for plane in planes]
    if "contrast" in changes:
        planes = [_contrast(plane, changes["contrast"]) for plane in planes]
    if "saturation" in changes or "hue" in changes:
        planes = _turn(planes, changes.get("saturation"), changes.get("hue"))
    if "grayscale" in changes:
        gray = sum(share * plane for share, plane in zip(_GRAY, planes))
        planes = [tf.where(changes["grayscale"], gray, plane) for plane in planes]
    return tf.stack(planes, axis=-1)


def _in_range(plane):
    return tf.clip_by_value(plane, 0.0, 255.0)


def _contrast(plane, times):
    mean = tf.reduce_mean(plane, axis=(-2, -1), keepdims=True)
    return _in_range(plane * times + mean * (1.0 - times))


def _turn(planes, saturation, hue):
    """Multiplies the saturation, and turns the hue by a share of a full turn."""
    red, green, blue = planes
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    if hue is None:
        times = tf.minimum(tf.math.divide_no_nan(value, chroma), saturation)
        low = value * (1.0 - times)
        return [low + plane * times for plane in planes]
    is_red, is_green = tf.equal(value, red), tf.equal(value, green)
    ahead = tf.where(is_green, blue - red, red - green)
    ahead = tf.where(is_red, green - blue, ahead)
    sector = tf.where(is_red, 0.0, tf.where(is_green, 2.0, 4.0))
    sixths = tf.math.divide_no_nan(ahead, chroma) + sector + 6.0 * hue
    sixths -= 6.0 * tf.floor(sixths / 6.0)
    if saturation is not None:
        chroma = tf.minimum(chroma * saturation, value)
    low = value - chroma
    shares = (
        tf.abs(sixths - 3.0) - 1.0,
        2.0 - tf.abs(sixths - 2.0),
        2.0 - tf.abs(sixths - 4.0),
    )
    return [low + chroma * tf.clip_by_value(share, 0.0, 1.0) for share in shares]
