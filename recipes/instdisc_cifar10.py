"""Instance discrimination on CIFAR-10, ResNet-18, as the paper trains it.

    python -m tfembed.recipes.instdisc --config recipes/instdisc_cifar10.py

Not run here: 200 epochs of a ResNet-18 want a GPU. The paper's number is 80.8 %
weighted kNN accuracy (Wu et al., 2018, table 1, non-parametric softmax,
https://arxiv.org/abs/1805.01978), for one GPU and some hours. Settings as in the
official code: full softmax, temperature 0.1, learning rate 0.03 with drops to a
tenth after 120 and 160 epochs, no flip, no norm before the unit norm, and the bank
from uniform numbers.
"""

from tfembed.recipes.instdisc import Config

config = Config(
    dataset="cifar10",
    limit=None,
    objective="full",
    temperature=0.1,
    momentum=0.5,
    bank_init="paper",
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
    flip=0.0,
    knn_temperature=0.1,
)
