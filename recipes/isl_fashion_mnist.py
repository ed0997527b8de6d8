"""Instance similarity learning on 20,000 images of Fashion-MNIST, on a CPU.

    python -m tfembed.recipes.isl --config recipes/isl_fashion_mnist.py

These are the recipe's defaults: the instance discrimination demo's network,
augmentation and 12 epochs, with positives mined after half of them.
"""

from tfembed.recipes.isl import Config

config = Config()
