"""Supervised contrastive loss: shares of exponentials, one by one."""

import functools

import numpy as np
from loss_oracles import over_all_terms, unit
from loss_sample import Sample

from tfembed import losses


def oracle(temperature=0.1, form="out", base_temperature=None):
    def terms(i, x, positives, negatives, refs):
        if not positives:
            return []
        e = {
            j: np.exp(unit(x[i]) @ unit(refs[j]) / temperature)
            for j in positives + negatives
        }
        p = [e[j] / sum(e.values()) for j in positives]
        loss = -np.mean(np.log(p)) if form == "out" else -np.log(np.mean(p))
        scale = temperature / base_temperature if base_temperature else 1
        return [scale * loss]

    return over_all_terms(terms)


SAMPLES = {
    losses.SupCon: [
        Sample(
            functools.partial(losses.SupCon, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"temperature": 0}, "temperature"),
                ({"form": "both"}, "in"),
                ({"base_temperature": -1}, "base_temperature"),
            ),
        )
        for name, settings in {
            "out": {},
            "in": {"form": "in", "temperature": 0.5},
            "official_code": {"temperature": 0.07, "base_temperature": 0.07},
            "cold": {"temperature": 0.01},
        }.items()
    ]
}
