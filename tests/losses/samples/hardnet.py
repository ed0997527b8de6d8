"""HardNet: pairs one by one, each with the negatives of both its ends."""

import functools

import numpy as np
from loss_oracles import distance, sides, unit
from loss_sample import Sample

from tfembed import losses


def oracle(margin=1.0, normalize=False):
    def loss(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x = np.float64(embeddings)
        refs = x if ref_embeddings is None else np.float64(ref_embeddings)
        others = labels if ref_labels is None else ref_labels
        if normalize:
            x, refs = [unit(row) for row in x], [unit(row) for row in refs]
        sums, count = np.zeros(len(x)), 0
        for i in range(len(x)):
            positives, negatives = sides(i, labels, ref_labels)
            for j in positives:
                near = [distance(x[i], refs[k]) for k in negatives]
                near += [
                    distance(refs[j], x[k])
                    for k in range(len(x))
                    if labels[k] != others[j]
                ]
                if near:
                    count += 1
                    gap = margin + distance(x[i], refs[j]) - min(near)
                    sums[i] += max(gap, 0)
        return sums * len(x) / max(count, 1)

    return loss


SAMPLES = {
    losses.HardNet: [
        Sample(
            functools.partial(losses.HardNet, **settings),
            oracle(**settings),
            name=name,
            refused=(({"margin": "wide"}, "margin"), ({"row_chunk": 0}, "row_chunk")),
        )
        for name, settings in {
            "default": {},
            "unit": {"normalize": True, "margin": 0.7},
        }.items()
    ]
}
