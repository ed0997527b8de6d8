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
        d = {j: squared(x[i], refs[j]) / temperature for j in positives + negatives}
        nearest = min(d.values())
        e = {j: np.exp(nearest - d[j]) for j in d}
        own, all_of_them = sum(e[j] for j in positives), sum(e.values())
        if form == "expected":
            return [sum(e[j] for j in negatives) / all_of_them]
        if own / all_of_them < 1e-200:  # the sum over so few is its largest term
            return [min(d[j] for j in positives) - nearest + np.log(all_of_them)]
        return [-np.log(own / all_of_them)]

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
