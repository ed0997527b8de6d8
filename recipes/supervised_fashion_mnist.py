"""Multi-similarity on five classes of Fashion-MNIST, measured on the other five.

    python -m tfembed.recipes.supervised --config recipes/supervised_fashion_mnist.py

These are the recipe's defaults; some minutes on a CPU. Five classes are few to learn a
metric from: raw pixels found more of the other five in every run of
docs/experiments.md. Where it gains: `supervised_glyphs.py`.
Any other loss: `--loss proxy_anchor`, `--loss contrastive`, ...
"""

from tfembed.recipes.supervised import Config

config = Config()
