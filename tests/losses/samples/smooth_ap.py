"""Smooth-AP: every rank by itself, sigmoid by sigmoid."""

import functools

import numpy as np
from loss_oracles import over_all_terms, unit
from loss_sample import Sample

from tfembed import losses


def sigmoid(value):
    return np.exp(-np.logaddexp(0, -value))


def oracle(temperature, include_anchor=False):
    def terms(i, x, positives, negatives, refs):
        if not positives:
            return []
        if not negatives:
            return [0.0]
        p = [unit(x[i]) @ unit(refs[j]) for j in positives]
        n = [unit(x[i]) @ unit(refs[j]) for j in negatives]
        closed = len(x) == len(refs) and np.array_equal(x, refs)
        if include_anchor and closed:
            p.append(unit(x[i]) @ unit(x[i]))
        average = 0.0
        for j, s in enumerate(p):
            rank = 1 + sum(
                sigmoid((other - s) / temperature)
                for k, other in enumerate(p)
                if k != j
            )
            below = sum(sigmoid((other - s) / temperature) for other in n)
            average += rank / (rank + below) / len(p)
        return [1 - average]

    return over_all_terms(terms)


SAMPLES = {
    losses.SmoothAP: [
        Sample(
            functools.partial(losses.SmoothAP, **settings),
            oracle(**settings),
            name=name,
            refused=(({"temperature": 0}, "temperature"),),
        )
        for name, settings in {
            "paper": {"temperature": 0.01},
            "official_code": {"temperature": 0.1, "include_anchor": True},
        }.items()
    ]
}
