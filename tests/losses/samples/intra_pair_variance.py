"""Intra-pair variance: both means over the batch, then every pair, one by one."""

import functools

import numpy as np
from loss_oracles import sides, unit
from loss_sample import Sample

from tfembed import losses


def oracle(positive_epsilon=0.01, negative_epsilon=0.01):
    def loss(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x = np.float64(embeddings)
        refs = x if ref_embeddings is None else np.float64(ref_embeddings)
        own, other = [], []
        for i in range(len(x)):
            positives, negatives = sides(i, labels, ref_labels)
            own += [(i, unit(x[i]) @ unit(refs[j])) for j in positives]
            other += [(i, unit(x[i]) @ unit(refs[j])) for j in negatives]
        rows = np.zeros(len(x))
        if own:
            least = (1 - positive_epsilon) * np.mean([s for _, s in own])
            for i, s in own:
                rows[i] += max(least - s, 0) ** 2 * len(x) / len(own)
        if other:
            most = (1 + negative_epsilon) * np.mean([s for _, s in other])
            for i, s in other:
                rows[i] += max(s - most, 0) ** 2 * len(x) / len(other)
        return rows

    return loss


SAMPLES = {
    losses.IntraPairVariance: [
        Sample(
            functools.partial(losses.IntraPairVariance, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"positive_epsilon": -1}, "positive_epsilon"),
                ({"negative_epsilon": "none"}, "negative_epsilon"),
            ),
        )
        for name, settings in {
            "default": {},
            "slack": {"positive_epsilon": 0.3, "negative_epsilon": 0.2},
        }.items()
    ]
}
