"""Histogram loss: triangular pulses around each node, pair by pair."""

import functools

import numpy as np
from loss_oracles import sides, unit
from loss_sample import Sample

from tfembed import losses


def oracle(bins=100):
    nodes = np.linspace(-1, 1, bins + 1)

    def losses_of(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x = np.float64(embeddings)
        refs = x if ref_embeddings is None else np.float64(ref_embeddings)
        histograms = np.zeros((2, bins + 1))
        for i in range(len(x)):
            for kind, indices in enumerate(sides(i, labels, ref_labels)):
                for j in indices:
                    s = unit(x[i]) @ unit(refs[j])
                    histograms[kind] += np.maximum(1 - abs(s - nodes) / (2 / bins), 0)
        if not histograms.sum(axis=1).all():
            return np.zeros(len(x))
        p, n = histograms / histograms.sum(axis=1)[:, None]
        loss = sum(n[r] * p[q] for r in range(bins + 1) for q in range(r + 1))
        return np.full(len(x), loss)

    return losses_of


SAMPLES = {
    losses.Histogram: [
        Sample(
            functools.partial(losses.Histogram, bins=bins),
            oracle(bins),
            name=f"{bins}_bins",
            refused=(({"bins": 0}, "bins"), ({"row_chunk": 0}, "row_chunk")),
        )
        for bins in (100, 5)
    ]
}
