"""Multi-similarity loss, mined and not: sums of exponentials, one by one."""

import functools

import numpy as np
from loss_oracles import by_row, unit
from loss_sample import Sample

from tfembed import losses


def oracle(alpha=2.0, beta=50.0, base=0.5, epsilon=0.1):
    def row(i, x, positives, negatives, refs):
        p = [unit(x[i]) @ unit(refs[j]) for j in positives]
        n = [unit(x[i]) @ unit(refs[j]) for j in negatives]
        if epsilon is not None:
            if not p or not n:
                return 0.0
            p, n = (
                [s for s in p if s < max(n) + epsilon],
                [s for s in n if s > min(p) - epsilon],
            )
        pull = np.log1p(sum(np.exp(-alpha * (s - base)) for s in p)) / alpha
        return pull + np.log1p(sum(np.exp(beta * (s - base)) for s in n)) / beta

    return by_row(row)


SAMPLES = {
    losses.MultiSimilarity: [
        Sample(
            functools.partial(losses.MultiSimilarity, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"alpha": 0}, "alpha"),
                ({"beta": -1}, "beta"),
                ({"epsilon": "some"}, "epsilon"),
            ),
        )
        for name, settings in {
            "default": {},
            "paper": {"base": 1.0},
            "official_code": {"beta": 40.0},
            "unmined": {"epsilon": None, "base": 0.5, "beta": 10.0},
        }.items()
    ]
}
