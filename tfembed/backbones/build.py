"""Backbones by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfembed.backbones.names import BACKBONES, POOLS, check_backbone
from tfembed.backbones.seeding import seed_kernels
from tfembed.backbones.weights import find_weights
from tfembed.backbones.weights_file import Weights
from tfembed.ops.arguments import as_shape, check_choice

if TYPE_CHECKING:
    from tensorflow import keras

__all__ = ["build_backbone"]


def build_backbone(
    name: str,
    image_shape: tuple[int, int, int],
    synchronized: bool = False,
    seed: int | None = None,
    weights: str | Weights | None = None,
    pool: str = "avg",
) -> keras.Model:
    """Builds an encoder from images to features.

    The model scales its input itself, in float32, so that training, export and serving
    feed it the same thing: to 0..1, or as the network was pretrained. And it averages
    over the image in float32. Between the two it follows the mixed-precision policy.

    >>> from tfembed.backbones import build_backbone
    >>> model = build_backbone("small_conv", (32, 32, 3), seed=0)
    >>> model(np.zeros((2, 32, 32, 3), "float32")).shape
    TensorShape([2, 128])

    Args:
        name: A name in `tfembed.backbones.BACKBONES`, or `keras:FILE`, a saved Keras
            model of one's own from images 0..255 to features `[b, f]` or a feature map
            `[b, h, w, f]`, which is then averaged over the image. It brings its own
            weights, batch normalisation and shape. Or `module:function`, which is
            imported and called with `image_shape`, and returns such a model; so is
            what an installed package offers (`docs/extend.md`).
        image_shape: `(height, width, channels)`, channels 1 or 3.
        synchronized: Whether batch normalisation takes its statistics over all
            replicas, so that N replicas are one.
        seed: Integer for initial weights that are the same each time; `None` for
            new ones.
        weights: Weights to begin with, as for `find_weights`: `"imagenet"`, a file, or
            what `find_weights` returned.
        pool: How the last feature map is pooled over the image: `"avg"`, `"max"` or
            `"gem"`, the generalised mean of a trained power (`GeneralizedMean`).

    Returns:
        A `keras.Model` from images `[b, height, width, channels]`, 0..255, to features
        `[b, f]`, the last feature map pooled over the image.

    Raises:
        ValueError: If the name is unknown, `image_shape` is not such a shape, or the
            saved model does not take it; or the weights are not there, or not of this
            network.
        ImportError: If a keras-cv backbone is asked for and keras-cv is missing.
    """
    check_backbone(name)
    shape = as_shape("image_shape", image_shape, channels=(1, 3))
    check_choice(POOLS, pool=pool)
    weights = find_weights(name, weights)
    if name.startswith("keras:"):
        from tfembed.backbones.saved import saved_backbone

        return saved_backbone(name[len("keras:") :], shape, pool)
    if name not in BACKBONES.parts:
        from tfembed.backbones.own import own_backbone

        return own_backbone(name, shape, pool)
    return _build(name, shape, synchronized, seed, weights, pool)


def _build(name, shape, synchronized, seed, weights, pool):
    family, _, variant = name.partition(":")
    if family == "applications":
        from tfembed.backbones.applications import applications_backbone

        return applications_backbone(variant, shape, synchronized, weights, seed, pool)
    if family == "torchvision":
        from tfembed.backbones.torchvision import torchvision_backbone

        return torchvision_backbone(variant, shape, synchronized, weights, seed, pool)
    if family == "keras_cv":
        from tfembed.backbones.keras_cv import keras_cv_backbone

        return keras_cv_backbone(variant, shape, synchronized, weights, seed, pool)
    if family == "small_conv":
        from tfembed.backbones.small_conv import small_conv

        model = small_conv(shape, synchronized, pool)
    else:
        from tfembed.backbones.resnet import resnet

        model = resnet(name, shape, synchronized, pooling=pool)
    if seed is not None:
        seed_kernels(model, seed)
    return model
