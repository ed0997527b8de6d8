"""Circle loss: every product of two exponentials, one by one."""

import functools

import numpy as np
from loss_oracles import over_all_terms, unit
from loss_sample import Sample

from tfembed import losses


def oracle(margin=0.4, gamma=80.0, **_):
    def terms(i, x, positives, negatives, refs):
        if not positives or not negatives:
            return []
        pull, push = [], []
        for j in positives:
            s = unit(x[i]) @ unit(refs[j])
            pull.append(-gamma * max(1 + margin - s, 0) * (s - (1 - margin)))
        for k in negatives:
            s = unit(x[i]) @ unit(refs[k])
            push.append(gamma * max(s + margin, 0) * (s - margin))
        # log(1 + sum{exp(pull)} * sum{exp(push)}): the products would overflow.
        return [np.logaddexp.reduce([0.0, *np.add.outer(pull, push).ravel()])]

    return over_all_terms(terms)


SAMPLES = {
    losses.Circle: [
        Sample(
            functools.partial(losses.Circle, **settings),
            oracle(**settings),
            name=name,
            smooth=not settings.get("stop_gradient_weights", True),
            refused=(({"margin": "wide"}, "margin"), ({"gamma": 0}, "gamma")),
        )
        for name, settings in {
            "retrieval": {},
            "faces": {"margin": 0.25, "gamma": 256.0},
            "whole_gradient": {"gamma": 10.0, "stop_gradient_weights": False},
        }.items()
    ]
}
