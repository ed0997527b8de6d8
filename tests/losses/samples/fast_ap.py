"""FastAP: triangular pulses around each node, pair by pair."""

import functools

import numpy as np
from loss_oracles import over_all_terms, unit
from loss_sample import Sample

from tfembed import losses


def oracle(bins=10):
    nodes = np.linspace(0, 4, bins + 1)

    def histogram(anchor, refs, indices):
        counts = np.zeros(bins + 1)
        for j in indices:
            d2 = 2 - 2 * unit(anchor) @ unit(refs[j])
            counts += np.maximum(1 - abs(d2 - nodes) / (4 / bins), 0)
        return counts

    def terms(i, x, positives, negatives, refs):
        if not positives:
            return []
        if not negatives:
            return [0.0]
        p = histogram(x[i], refs, positives)
        n = histogram(x[i], refs, negatives)
        average, p_sum, sum_ = 0.0, 0.0, 0.0
        for level in range(bins + 1):
            p_sum += p[level]
            sum_ += p[level] + n[level]
            if sum_ > 0:
                average += p[level] * p_sum / sum_ / len(positives)
        return [1 - average]

    return over_all_terms(terms)


SAMPLES = {
    losses.FastAP: [
        Sample(
            functools.partial(losses.FastAP, bins=bins),
            oracle(bins),
            name=f"{bins}_bins",
            refused=(({"bins": 0}, "bins"), ({"bins": 2.5}, "bins")),
        )
        for bins in (10, 3)
    ]
}
