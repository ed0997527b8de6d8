"""N-pair: the negatives' exponentials one by one."""

import functools

import numpy as np
from loss_oracles import over_all_terms
from loss_sample import Sample

from tfembed import losses


def oracle(l2, form):
    def terms(i, x, positives, negatives, refs):
        power = 2 if form == "paper" else 1
        found = []
        for j in positives:
            gaps = [x[i] @ refs[k] - x[i] @ refs[j] for k in negatives]
            norms = np.linalg.norm(x[i]) ** power + np.linalg.norm(refs[j]) ** power
            found.append(np.logaddexp.reduce([0.0, *gaps]) + l2 * norms / 2)
        return [np.mean(found)] if found and form == "paper" else found

    return over_all_terms(terms)


SAMPLES = {
    losses.NPair: [
        Sample(
            functools.partial(losses.NPair, form=form, l2=l2),
            oracle(l2, form),
            name=f"{form}, pairs" if pairs else form,
            two_views=pairs,
            refused=(({"l2": -1}, "l2"), ({"form": "angular"}, "survey")),
        )
        for form, l2, pairs in [
            ("paper", 0.02, False),
            ("survey", 0.1, False),
            ("paper", 0.0, True),  # one positive a row: by another way
        ]
    ]
}
