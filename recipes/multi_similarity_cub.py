"""Multi-similarity on CUB-200-2011, as the paper trains it.

    python -m tfembed.recipes.supervised --config recipes/multi_similarity_cub.py \
        --dataset folder:/data/cub --backbone keras:bn_inception.keras

Not run here: it wants a GPU for an hour or two, the images (one folder a class) and an
ImageNet backbone of one's own, a saved Keras model from 227 x 227 images in 0..255 to
features; the paper's is BN-Inception with a maximum over the last feature map, its
batch norms frozen. The paper's number is R@1 65.7 % at 512 dimensions (Wang et al.,
2019, https://arxiv.org/abs/1904.06627), chosen on the test classes.
"""

from tfembed.recipes.supervised import Config

config = Config(
    dataset="folder:cub",
    limit=None,
    image_size=227,
    split="unseen",
    loss="multi_similarity",
    loss_options="base=1.0",
    samples_per_class=5,
    backbone="keras:bn_inception.keras",
    frozen_batch_norm=True,
    dim=512,
    head_norm=False,
    optimizer="adamw",
    learning_rate=3e-5,
    weight_decay=5e-4,
    schedule="step",
    batch_size=80,
    steps_per_epoch=100,
    epochs=30,
    crop_min=0.16,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    grayscale=0.0,
    flip=0.5,
    nmi=True,
    softmax_baseline=False,
)
