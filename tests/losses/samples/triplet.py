"""Triplet loss: triplets one by one; the drawn ones by the same hash, in integers."""

import functools

import numpy as np
from loss_oracles import distance, over_all_terms, squared, unit
from loss_sample import Sample

from tfembed import losses

BETWEEN = {
    "squared_euclidean": squared,
    "euclidean": distance,
    "cosine": lambda a, b: 1 - unit(a) @ unit(b),
}


def mix(x):
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return x ^ (x >> 16)


def key(row):
    bits = np.atleast_1d(np.float32(row)).view(np.uint32)
    places = [(j * 0x9E3779B9) & 0xFFFFFFFF for j in range(1, len(bits) + 1)]
    parts = [mix(mix(int(bit)) ^ place) for bit, place in zip(bits, places)]
    return mix(sum(parts) & 0xFFFFFFFF)


def weight(a, n, dim):
    """1 / density of the distance of unit rows, not less than 0.5; 0 from 1.4 on."""
    d = distance(unit(a), unit(n))
    if d >= 1.4:
        return 0.0
    d = max(d, 0.5)
    return d ** (2.0 - dim) * (1 - d * d / 4) ** ((3.0 - dim) / 2)


def drawn(i, p, x, negatives, refs):
    order = sorted(negatives, key=lambda n: key(refs[n]))
    weights = [weight(x[i], refs[n], x.shape[1]) for n in order]
    if not any(weights):
        weights = [1.0] * len(order)
    u = (mix((mix(key(x[i])) * 3 + key(refs[p])) & 0xFFFFFFFF) + 0.5) / 2**32
    total = 0.0
    for n, w in zip(order, weights):
        total += w
        if u * sum(weights) < total:
            return n
    return order[-1]


def chosen(mining, d, margin, i, x, positives, negatives, refs):
    """The triplets of anchor i, as (positive, negative)."""
    if not positives or not negatives:
        return []
    if mining == "hard":
        return [(max(positives, key=d), min(negatives, key=d))]
    if mining == "distance_weighted":
        return [(p, drawn(i, p, x, negatives, refs)) for p in positives]
    if mining == "semi_hard":
        found = []
        for p in positives:
            farther = [n for n in negatives if d(n) > d(p)]
            n = min(farther, key=d) if farther else max(negatives, key=d)
            found.append((p, n))
        return found
    return [
        (p, n)
        for p in positives
        for n in negatives
        if mining == "all" or d(p) < d(n) < d(p) + margin
    ]


def oracle(distance="squared_euclidean", mining="semi_hard", margin=0.2, soft=False):
    def terms(i, x, positives, negatives, refs):
        rows = [unit(r) for r in refs] if mining == "distance_weighted" else refs
        anchor = unit(x[i]) if mining == "distance_weighted" else x[i]

        def d(j):
            return BETWEEN[distance](anchor, rows[j])

        gaps = [
            d(p) - d(n)
            for p, n in chosen(mining, d, margin, i, x, positives, negatives, refs)
        ]
        if soft:
            return [np.logaddexp(0, gap) for gap in gaps]
        return [max(gap + margin, 0) for gap in gaps]

    return over_all_terms(terms)


SETTINGS = {
    "semi_hard": {},
    "window": {"mining": "window", "margin": 0.7},
    "hard_soft": {"mining": "hard", "distance": "euclidean", "soft": True},
    "all_cosine": {"mining": "all", "distance": "cosine", "margin": 0.5},
    "distance_weighted": {
        "mining": "distance_weighted",
        "distance": "euclidean",
        "margin": 0.6,
    },
}
SAMPLES = {
    losses.Triplet: [
        Sample(
            functools.partial(losses.Triplet, **settings),
            oracle(**settings),
            name=name,
            draws="weighted" in name,
            smooth="weighted" not in name,
            ties="weighted" not in name,
            refused=(
                ({"margin": "wide"}, "margin"),
                ({"distance": "manhattan"}, "cosine"),
                ({"mining": "easy"}, "semi_hard"),
            ),
        )
        for name, settings in SETTINGS.items()
    ]
}
