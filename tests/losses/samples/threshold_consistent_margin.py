"""Threshold-consistent margins: the hard pairs of the batch in two lists."""

import functools

import numpy as np
from loss_oracles import sides, unit
from loss_sample import Sample

from tfembed import losses


def oracle(
    positive_margin=0.9, negative_margin=0.5, positive_weight=1.0, negative_weight=1.0
):
    def loss(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x = np.float64(embeddings)
        refs = x if ref_embeddings is None else np.float64(ref_embeddings)
        pulls, pushes = [], []
        for i in range(len(x)):
            positives, negatives = sides(i, labels, ref_labels)
            for j in positives:
                s = unit(x[i]) @ unit(refs[j])
                if s <= positive_margin:
                    pulls.append((i, positive_margin - s))
            for j in negatives:
                s = unit(x[i]) @ unit(refs[j])
                if s >= negative_margin:
                    pushes.append((i, s - negative_margin))
        rows = np.zeros(len(x))
        for costs, weight in ((pulls, positive_weight), (pushes, negative_weight)):
            for i, cost in costs:
                rows[i] += weight * cost * len(x) / len(costs)
        return rows

    return loss


SAMPLES = {
    losses.ThresholdConsistentMargin: [
        Sample(
            functools.partial(losses.ThresholdConsistentMargin, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"positive_margin": "near"}, "positive_margin"),
                ({"negative_weight": -1}, "negative_weight"),
            ),
        )
        for name, settings in {
            "paper": {},
            "weighted": {
                "positive_margin": 0.4,
                "negative_margin": 0.1,
                "positive_weight": 0.7,
                "negative_weight": 2.5,
            },
        }.items()
    ]
}
