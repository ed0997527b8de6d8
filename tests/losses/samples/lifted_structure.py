"""Lifted structure: pairs one by one, each with the negatives of both its ends."""

import functools

import numpy as np
from loss_oracles import distance, sides
from loss_sample import Sample

from tfembed import losses


def oracle(margin=1.0, smooth=True):
    def loss(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x = np.float64(embeddings)
        refs = x if ref_embeddings is None else np.float64(ref_embeddings)
        others = labels if ref_labels is None else ref_labels
        sums, count = np.zeros(len(x)), 0
        for i in range(len(x)):
            positives, negatives = sides(i, labels, ref_labels)
            for j in positives:
                count += 1
                near = [margin - distance(x[i], refs[k]) for k in negatives]
                near += [
                    margin - distance(refs[j], x[k])
                    for k in range(len(x))
                    if labels[k] != others[j]
                ]
                if near:
                    push = np.logaddexp.reduce(near) if smooth else max(near)
                    sums[i] += max(push + distance(x[i], refs[j]), 0) ** 2 / 2
        return sums * len(x) / max(count, 1)

    return loss


SAMPLES = {
    losses.LiftedStructure: [
        Sample(
            functools.partial(losses.LiftedStructure, **settings),
            oracle(**settings),
            name=name,
            refused=(({"margin": "wide"}, "margin"), ({"row_chunk": 0}, "row_chunk")),
        )
        for name, settings in {
            "smooth": {},
            "maximum": {"smooth": False, "margin": 1.3},
        }.items()
    ]
}
