"""Coupled clusters loss: each row against its class's centre."""

import functools

import numpy as np
from loss_oracles import over_all_terms, squared, unit
from loss_sample import Sample

from tfembed import losses


def oracle(margin, normalize=False):
    def terms(i, x, positives, negatives, refs):
        if not positives or not negatives:
            return []
        if normalize:
            x, refs = [unit(row) for row in x], [unit(row) for row in refs]
        closed = len(x) == len(refs) and all(map(np.array_equal, x, refs))
        members = [refs[j] for j in positives] + ([x[i]] if closed else [])
        c = sum(members) / len(members)
        nearest = min(squared(refs[j], c) for j in negatives)
        return [max(squared(x[i], c) + margin - nearest, 0) / 2]

    return over_all_terms(terms)


SAMPLES = {
    losses.CoupledClusters: [
        Sample(
            functools.partial(losses.CoupledClusters, **settings),
            oracle(settings["margin"], settings.get("normalize", False)),
            name=name,
            smooth="stop_gradient_center" in settings,
            refused=(({"margin": "wide"}, "margin"), ({"row_chunk": 0}, "row_chunk")),
        )
        for name, settings in {
            "paper": {"margin": 1.0},
            "through_center": {
                "margin": 0.8,
                "stop_gradient_center": False,
                "normalize": True,
            },
        }.items()
    ]
}
