"""Neighbourhood components analysis: chances of neighbours, one by one."""

import functools

import numpy as np
from loss_oracles import over_all_terms, squared
from loss_sample import Sample

from tfembed import losses


def oracle(temperature=1.0, form="log"):
    def terms(i, x, positives, negatives, refs):
        if not positives:
            return []
        own = [-squared(x[i], refs[j]) / temperature for j in positives]
        other = [-squared(x[i], refs[j]) / temperature for j in negatives]
        # p = sum{exp(own)} / sum{exp(own and other)}: the sums may all be 0.
        log_p = np.logaddexp.reduce(own) - np.logaddexp.reduce(own + other)
        return [-log_p if form == "log" else -np.expm1(log_p)]

    return over_all_terms(terms)


SAMPLES = {
    losses.NCA: [
        Sample(
            functools.partial(losses.NCA, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"temperature": 0}, "temperature"),
                ({"form": "sum"}, "expected"),
            ),
        )
        for name, settings in {
            "log": {},
            "expected": {"form": "expected", "temperature": 0.7},
        }.items()
    ]
}
