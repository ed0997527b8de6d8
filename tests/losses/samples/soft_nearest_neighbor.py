"""Soft nearest neighbour loss: sums of exponentials, one by one."""

import functools

import numpy as np
from loss_oracles import distance as euclidean
from loss_oracles import over_all_terms, squared, unit
from loss_sample import Sample

from tfembed import losses


def oracle(temperature=1.0, distance="squared_euclidean"):
    def apart(a, b):
        if distance == "cosine":
            return 1 - unit(a) @ unit(b)
        return squared(a, b) if distance == "squared_euclidean" else euclidean(a, b)

    def terms(i, x, positives, negatives, refs):
        if not positives:
            return []
        own = [-apart(x[i], refs[j]) / temperature for j in positives]
        other = [-apart(x[i], refs[j]) / temperature for j in negatives]
        # -log(sum{exp(own)} / sum{exp(own and other)}): the sums may all be 0.
        return [np.logaddexp.reduce(own + other) - np.logaddexp.reduce(own)]

    return over_all_terms(terms)


SAMPLES = {
    losses.SoftNearestNeighbor: [
        Sample(
            functools.partial(losses.SoftNearestNeighbor, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"temperature": -0.1}, "temperature"),
                ({"distance": "manhattan"}, "euclidean"),
            ),
        )
        for name, settings in {
            "default": {},
            "euclidean": {"distance": "euclidean", "temperature": 0.3},
            "cosine_cold": {"distance": "cosine", "temperature": 0.01},
        }.items()
    ]
}
