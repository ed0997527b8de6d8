"""Angular loss: every triplet, one by one."""

import functools

import numpy as np
from loss_oracles import over_all_terms, unit
from loss_sample import Sample

from tfembed import losses


def oracle(alpha=45.0):
    t = np.tan(np.radians(alpha)) ** 2

    def terms(i, x, positives, negatives, refs):
        a = unit(x[i])
        values = []
        for j in positives:
            p = unit(refs[j])
            total = 0
            for k in negatives:
                f = 4 * t * (a + p) @ unit(refs[k]) - 2 * (1 + t) * a @ p
                total += np.exp(f)
            values.append(np.log1p(total))
        return values

    return over_all_terms(terms)


SAMPLES = {
    losses.Angular: [
        Sample(
            functools.partial(losses.Angular, **settings),
            oracle(**settings),
            name=name,
            refused=(({"alpha": 90}, "alpha"), ({"alpha": "wide"}, "alpha")),
        )
        for name, settings in {"default": {}, "narrow": {"alpha": 36.0}}.items()
    ]
}
