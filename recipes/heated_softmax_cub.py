"""Heated-up softmax on CUB-200-2011, as the paper heats it.

    python -m tfembed.recipes.supervised --config recipes/heated_softmax_cub.py \
        --dataset folder:/data/cub --backbone keras:resnet50.keras

Not run here: it wants a GPU for some hours, the images (one folder a class) and an
ImageNet backbone of one's own. A softmax over normalised proxies whose temperature is
1/16 at first and 1/4 in the last fifth of the epochs (Zhang et al., 2018,
https://arxiv.org/abs/1809.04157); the paper's own table is not repeated here.
"""

from tfembed.recipes.supervised import Config

config = Config(
    dataset="folder:cub",
    limit=None,
    image_size=227,
    split="unseen",
    loss="norm_softmax",
    temperature_schedule="0:0.0625,40:0.25",
    proxy_rate=10.0,
    samples_per_class=2,
    backbone="keras:resnet50.keras",
    frozen_batch_norm=True,
    dim=512,
    head_norm=False,
    optimizer="sgd",
    learning_rate=0.001,
    weight_decay=5e-4,
    schedule="constant",
    batch_size=64,
    epochs=50,
    crop_min=0.16,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    grayscale=0.0,
    flip=0.5,
    softmax_baseline=False,
)
