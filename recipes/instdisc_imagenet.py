"""Instance discrimination on ImageNet, ResNet-50, NCE, as the paper trains it.

    python -m tfembed.recipes.instdisc --config recipes/instdisc_imagenet.py \
        --dataset folder:/data/imagenet --run-dir runs/imagenet

Not run here: 200 epochs of 1,281,167 images want eight GPUs for days. The folder
holds `train/CLASS/IMAGE` and `test/CLASS/IMAGE` (the validation images, by which papers
report; in a folder `val` they would not be in the result). The paper's number is 46.5 %
weighted kNN accuracy (Wu et al., 2018, table 2, https://arxiv.org/abs/1805.01978); the
official code's README says 46.8.

Two things differ from the official code: an image is first resized to 224 x 224
without keeping its aspect, and test images are resized likewise instead of being cut
out of their centre. If the loss rises early, the run says so and names the cure
(`--bank-init forward --head-norm`, or `--objective infonce`).
"""

from tfembed.recipes.instdisc import Config

config = Config(
    dataset="folder:imagenet",
    limit=None,
    image_size=224,
    objective="nce",
    num_negatives=4096,
    negatives="per_anchor",
    normalizer="first_batch",
    temperature=0.07,
    momentum=0.5,
    bank_init="paper",
    backbone="resnet50",
    head_norm=False,
    learning_rate=0.03,
    weight_decay=1e-4,
    schedule="step",
    batch_size=256,
    epochs=200,
    crop_min=0.2,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.4,
    grayscale=0.2,
    flip=0.5,
    knn_temperature=0.07,
    linear_probe=False,
)
