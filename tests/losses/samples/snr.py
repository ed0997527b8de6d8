"""Signal-to-noise ratios: NumPy's variance of every difference."""

import functools

import numpy as np
from loss_oracles import sides
from loss_sample import Sample

from tfembed import losses


def oracle(margin=1.0, positive_margin=0.0, zero_mean=0.0):
    def loss(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x = np.float64(embeddings)
        refs = x if ref_embeddings is None else np.float64(ref_embeddings)
        rows, count = np.zeros(len(x)), 0
        for i in range(len(x)):
            signal = np.var(x[i])
            if signal * x.shape[1] <= 1e-12:
                continue
            positives, negatives = sides(i, labels, ref_labels)
            for j in positives:
                rows[i] += max(np.var(refs[j] - x[i]) / signal - positive_margin, 0)
            for j in negatives:
                rows[i] += max(margin - np.var(refs[j] - x[i]) / signal, 0)
            count += len(positives) + len(negatives)
        if count:
            rows *= len(x) / count
        return rows + zero_mean * np.abs(np.sum(x, axis=1))

    return loss


SAMPLES = {
    losses.SNR: [
        Sample(
            functools.partial(losses.SNR, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"zero_mean": -1}, "zero_mean"),
                ({"margin": "wide"}, "margin"),
            ),
        )
        for name, settings in {
            "paper": {},
            "regularised": {"margin": 2.5, "positive_margin": 0.3, "zero_mean": 0.2},
        }.items()
    ]
}
