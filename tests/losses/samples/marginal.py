"""Marginal loss: pairs one by one."""

import functools

from loss_oracles import over_all_terms, squared, unit
from loss_sample import Sample

from tfembed import losses


def oracle(threshold=1.2, margin=0.3):
    def pair(a, b, sign):
        return max(margin - sign * (threshold - squared(unit(a), unit(b))), 0)

    return over_all_terms(
        lambda i, x, positives, negatives, refs: [
            *[pair(x[i], refs[j], 1) for j in positives],
            *[pair(x[i], refs[j], -1) for j in negatives],
        ]
    )


SAMPLES = {
    losses.Marginal: [
        Sample(
            functools.partial(losses.Marginal, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"threshold": "far"}, "threshold"),
                ({"margin": None}, "margin"),
                ({"row_chunk": 0}, "row_chunk"),
            ),
        )
        for name, settings in {
            "paper": {},
            "wide": {"threshold": 1.7, "margin": 0.9},
        }.items()
    ]
}
