"""Invariant spreading on Stanford Online Products, as the paper trains it.

    python -m tfembed.recipes.invaspread --config recipes/invaspread_sop.py \
        --dataset folder:/data/sop --backbone keras:inception.keras

Not run here: it wants a GPU for a day, the images (one folder a class) and an ImageNet
backbone of one's own, a saved Keras model from 227 x 227 images in 0..255 to features.
The paper's numbers, with Inception-v1: R@1 48.9 %, NMI 86.0 (Ye et al., 2019,
https://arxiv.org/abs/1904.03436). A third party reached 31 % R@1 on Cars with the
released code. The folder holds `train/CLASS/IMAGE` and `test/CLASS/IMAGE`.
"""

from tfembed.recipes.invaspread import Config

config = Config(
    dataset="folder:sop",
    limit=None,
    image_size=227,
    split="given",
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
