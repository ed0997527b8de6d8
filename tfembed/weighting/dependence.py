"""Which similarities a loss's weights depend on: self, and relative to others."""

from __future__ import annotations

import numpy as np

from tfembed.losses import FunctionalLoss
from tfembed.weighting.anchors import anchor_weights
from tfembed.weighting.derivatives import on_proxies

TYPES = ("S", "N", "P")


def similarity_types(loss: FunctionalLoss, contexts: int = 48, seed: int = 0) -> str:
    """Measures which of the three similarities decide how a negative pair is weighed.

    Each is a property of the weights, asked of random anchors. An anchor counts as
    long as the loss moves it at all, before and after.

        S  self               the weight changes when all similarities of the anchor
                              rise by the same amount, so that no relative one changes
        N  negative-relative  it changes when the other negatives come nearer, while
                              this pair and the positives stay
        P  positive-relative  it changes when the positives come nearer, while this
                              pair and the other negatives stay

    >>> from tfembed.losses import BinomialDeviance
    >>> print(similarity_types(BinomialDeviance()))
    S

    Args:
        loss: A loss of `tfembed.losses`.
        contexts: Number of random anchors.
        seed: Seed of the anchors.

    Returns:
        A string of those of `"S"`, `"N"`, `"P"` that hold, in this order.

    Reference: Wang et al., 2019, section 3.3 and table 1
    (https://arxiv.org/abs/1904.06627).
    """
    rng = np.random.default_rng(seed)
    positive = rng.uniform(-0.2, 0.8, (contexts, 1 if on_proxies(loss) else 2))
    negative = rng.uniform(-0.2, 0.8, (contexts, 4))
    step = rng.uniform(0.05, 0.15, (contexts, 1))
    nearer = np.concatenate([negative[:, :1], negative[:, 1:] + step], axis=1)
    after = {
        "S": (positive + step, negative + step),
        "N": (positive, nearer),
        "P": (positive + step, negative),
    }
    moves = [(positive, negative), *after.values()]
    pulls, pushes = anchor_weights(
        loss, *(np.concatenate(each) for each in zip(*moves))
    )
    weights = np.abs(np.concatenate([pulls, pushes], axis=1)).max(axis=1)
    largest = np.split(weights, len(moves))
    weight = np.split(pushes.numpy()[:, 0], len(moves))
    found = ""
    for name, new, most in zip(after, weight[1:], largest[1:]):
        moved = (largest[0] > 1e-12) & (most > 1e-12)
        # Against the pair itself, and above what rounding makes of the largest one.
        noise = 1e-6 * np.maximum(np.abs(weight[0]), np.abs(new))
        noise = np.maximum(noise, 1e-12 * np.maximum(largest[0], most))
        if np.any(moved & (np.abs(new - weight[0]) > noise)):
            found += name
    return found
