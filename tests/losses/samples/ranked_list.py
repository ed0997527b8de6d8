"""Ranked list loss: weighted means of what is out of place, one by one."""

import functools

import numpy as np
from loss_oracles import by_row, distance, unit
from loss_sample import Sample

from tfembed import losses


def oracle(
    alpha=1.2,
    margin=0.4,
    positive_temperature=0.0,
    negative_temperature=10.0,
    balance=0.5,
    normalize=True,
    **_,
):
    def row(i, x, positives, negatives, refs):
        def away(j):
            return distance(*map(unit if normalize else np.array, (x[i], refs[j])))

        inner = alpha - margin
        far = [d for d in map(away, positives) if d > inner]
        near = [d for d in map(away, negatives) if d < alpha]
        pull = push = 0.0
        if far:
            weights = [np.exp(positive_temperature * (d - max(far))) for d in far]
            pull = np.average([d - inner for d in far], weights=weights)
        if near:
            weights = [np.exp(negative_temperature * (min(near) - d)) for d in near]
            push = np.average([alpha - d for d in near], weights=weights)
        return (1 - balance) * pull + balance * push

    return by_row(row)


SAMPLES = {
    losses.RankedList: [
        Sample(
            functools.partial(losses.RankedList, **settings),
            oracle(**settings),
            name=name,
            smooth=not settings.get("stop_gradient_weights", True),
            refused=(
                ({"alpha": "far"}, "alpha"),
                ({"negative_temperature": -1}, "negative_temperature"),
                ({"balance": 2}, "balance"),
            ),
        )
        for name, settings in {
            "default": {},
            "whole_gradient": {
                "positive_temperature": 2.0,
                "negative_temperature": 3.0,
                "balance": 0.3,
                "stop_gradient_weights": False,
                "normalize": False,
            },
        }.items()
    ]
}
