"""Invariant spreading on CUB-200-2011, as the paper trains it.

    python -m tfembed.recipes.invaspread --config recipes/invaspread_cub.py \
        --dataset folder:/data/cub --backbone keras:inception.keras

Not run here: it wants a GPU for some hours, the images (one folder a class) and an
ImageNet backbone of one's own, a saved Keras model from 227 x 227 images in 0..255 to
features. The paper's numbers, with Inception-v1: R@1 46.2 %, NMI 55.4 (Ye et al.,
2019, https://arxiv.org/abs/1904.03436). A third party reached 31 % R@1 on Cars with
the released code. For CUB that code draws half of the second views from the nearest
neighbours, which the paper does not say and this file does not do.
"""

from tfembed.recipes.invaspread import Config

config = Config(
    dataset="folder:cub",
    limit=None,
    image_size=227,
    split="unseen",
    temperature=0.1,
    backbone="keras:inception.keras",
    head_norm=False,
    learning_rate=0.001,
    weight_decay=5e-4,
    schedule="step",
    batch_size=64,
    epochs=60,
    crop_min=0.8,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    grayscale=0.0,
    flip=0.5,
)
