"""Tuplet margin loss: angles by the arc cosine, one by one."""

import functools

import numpy as np
from loss_oracles import over_all_terms, unit
from loss_sample import Sample

from tfembed import losses


def oracle(margin=0.1, scale=64.0):
    def terms(i, x, positives, negatives, refs):
        def cosine(j):
            return np.clip(unit(x[i]) @ unit(refs[j]), -1, 1)

        return [
            np.log1p(
                sum(
                    np.exp(scale * (cosine(k) - np.cos(np.arccos(cosine(j)) - margin)))
                    for k in negatives
                )
            )
            for j in positives
        ]

    return over_all_terms(terms)


SAMPLES = {
    losses.TupletMargin: [
        Sample(
            functools.partial(losses.TupletMargin, **settings),
            oracle(**settings),
            name=name,
            refused=(({"margin": "wide"}, "margin"), ({"scale": 0}, "scale")),
        )
        for name, settings in {
            "default": {},
            "wide": {"margin": 0.6, "scale": 10.0},
        }.items()
    ]
}
