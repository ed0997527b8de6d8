"""Binomial deviance: softplus of every pair, one by one."""

import functools

import numpy as np
from loss_oracles import by_row, unit
from loss_sample import Sample

from tfembed import losses


def oracle(alpha=2.0, beta=50.0, base=0.5):
    def row(i, x, positives, negatives, refs):
        s = {j: unit(x[i]) @ unit(refs[j]) for j in positives + negatives}
        pull = [np.log1p(np.exp(alpha * (base - s[j]))) for j in positives]
        push = [np.log1p(np.exp(beta * (s[j] - base))) for j in negatives]
        return sum(np.mean(side) for side in (pull, push) if side)

    return by_row(row)


SAMPLES = {
    losses.BinomialDeviance: [
        Sample(
            functools.partial(losses.BinomialDeviance, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"alpha": 0}, "alpha"),
                ({"beta": -1}, "beta"),
                ({"base": "half"}, "base"),
            ),
        )
        for name, settings in {
            "default": {},
            "even": {"alpha": 5.0, "beta": 5.0, "base": 0.1},
        }.items()
    ]
}
