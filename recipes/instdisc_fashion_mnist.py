"""Instance discrimination on 20,000 images of Fashion-MNIST: the CPU demo.

    python -m tfembed.recipes.instdisc --config recipes/instdisc_fashion_mnist.py

These are the recipe's defaults. What they reach here, over three seeds and beside
the baselines: `benchmarks/README.md`.
"""

from tfembed.recipes.instdisc import Config

config = Config()
