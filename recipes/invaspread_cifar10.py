"""Invariant spreading on CIFAR-10, ResNet-18, as the paper trains it.

    python -m tfembed.recipes.invaspread --config recipes/invaspread_cifar10.py

Not run here: 200 epochs of two views through a ResNet-18 want a GPU, for most of a
day. The paper's number is 83.6 % weighted kNN accuracy (Ye et al., 2019,
https://arxiv.org/abs/1904.03436). Settings as in the official code: 128 images a
batch, temperature 0.1, learning rate 0.03 with drops to a tenth after 120 and 160
epochs; the code goes on to 301 epochs and drops to a twentieth and a hundredth.
"""

from tfembed.recipes.invaspread import Config

config = Config(
    dataset="cifar10",
    limit=None,
    temperature=0.1,
    backbone="resnet18_cifar",
    head_norm=False,
    learning_rate=0.03,
    weight_decay=5e-4,
    schedule="step",
    batch_size=128,
    epochs=200,
    crop_min=0.2,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.4,
    grayscale=0.2,
    flip=0.5,
    knn_temperature=0.1,
)
