"""Invariant spreading on 20,000 images of Fashion-MNIST, on a CPU.

    python -m tfembed.recipes.invaspread --config recipes/invaspread_fashion_mnist.py

These are the recipe's defaults: the demo's network and augmentation, two views of
each image.
"""

from tfembed.recipes.invaspread import Config

config = Config()
