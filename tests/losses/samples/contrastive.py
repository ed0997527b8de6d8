"""Contrastive loss: pairs one by one."""

import functools

import numpy as np
from loss_oracles import over_all_terms, squared, unit
from loss_sample import Sample

from tfembed import losses


def pair(form, margin, same, a, b):
    d2 = squared(a, b)
    if form == "hadsell":
        return d2 if same else max(margin - np.sqrt(d2), 0) ** 2
    if form == "survey":
        return d2 if same else max(margin - d2, 0)
    return -(unit(a) @ unit(b)) if same else max(unit(a) @ unit(b) - margin, 0)


def oracle(form, margin):
    return over_all_terms(
        lambda i, x, positives, negatives, refs: [
            *[pair(form, margin, True, x[i], refs[j]) for j in positives],
            *[pair(form, margin, False, x[i], refs[j]) for j in negatives],
        ]
    )


SAMPLES = {
    losses.Contrastive: [
        Sample(
            functools.partial(losses.Contrastive, margin=margin, form=form),
            oracle(form, margin),
            name=form,
            refused=(
                ({"margin": "wide"}, "margin"),
                ({"form": "square"}, "hadsell"),
                ({"row_chunk": 0}, "row_chunk"),
            ),
        )
        for form, margin in [("hadsell", 1.5), ("survey", 2.0), ("cosine", 0.3)]
    ]
}
