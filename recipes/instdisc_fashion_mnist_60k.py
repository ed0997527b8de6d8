"""Instance discrimination on all 60,000 training images of Fashion-MNIST.

    python -m tfembed.recipes.instdisc --config recipes/instdisc_fashion_mnist_60k.py

The demo's settings on three times as many images. The full softmax grows with the
number of images, so a step costs more as well.
"""

from tfembed.recipes.instdisc import Config

config = Config(limit=None)
