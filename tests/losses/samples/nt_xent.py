"""NT-Xent: each positive pair against the anchor's negatives, one by one."""

import functools

import numpy as np
from loss_oracles import over_all_terms, unit
from loss_sample import Sample

from tfembed import losses


def oracle(temperature=0.1):
    def terms(i, x, positives, negatives, refs):
        e = {
            j: np.exp(unit(x[i]) @ unit(refs[j]) / temperature)
            for j in positives + negatives
        }
        against = sum(e[k] for k in negatives)
        return [np.log1p(against / e[j]) for j in positives]

    return over_all_terms(terms)


SAMPLES = {
    losses.NTXent: [
        Sample(
            functools.partial(losses.NTXent, **settings),
            oracle(**settings),
            name=name,
            refused=(({"temperature": 0}, "temperature"),),
        )
        for name, settings in {
            "default": {},
            "cold": {"temperature": 0.01},
        }.items()
    ]
}
