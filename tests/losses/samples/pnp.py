"""Negatives before positives: every sigmoid by itself."""

import functools

import numpy as np
from loss_oracles import over_all_terms, unit
from loss_sample import Sample

from tfembed import losses

PENALTIES = {
    "O": lambda r, alpha, b: r,
    "Iu": lambda r, alpha, b: (1 + r) * np.log(1 + r),
    "Ib": lambda r, alpha, b: (b * r - np.log(1 + b * r)) / b**2,
    "Ds": lambda r, alpha, b: np.log(1 + r),
    "Dq": lambda r, alpha, b: 1 - 1 / (1 + r) ** alpha,
}


def oracle(form="O", temperature=0.01, alpha=1.0, b=2.0, include_anchor=False):
    def terms(i, x, positives, negatives, refs):
        if not positives:
            return []
        p = [unit(x[i]) @ unit(refs[j]) for j in positives]
        n = [unit(x[i]) @ unit(refs[k]) for k in negatives]
        closed = len(x) == len(refs) and np.array_equal(x, refs)
        if include_anchor and closed:
            p.append(unit(x[i]) @ unit(x[i]))
        before = [
            sum(np.exp(-np.logaddexp(0, -(other - s) / temperature)) for other in n)
            for s in p
        ]
        return [np.mean([PENALTIES[form](r, alpha, b) for r in before])]

    return over_all_terms(terms)


SAMPLES = {
    losses.PNP: [
        Sample(
            functools.partial(losses.PNP, **settings),
            oracle(**settings),
            name=name,
            refused=(
                ({"temperature": 0}, "temperature"),
                ({"alpha": 0}, "alpha"),
                ({"b": -1}, "`b`"),
                ({"form": "D"}, "Dq"),
            ),
        )
        for name, settings in {
            "paper": {},
            "Dq": {"form": "Dq", "temperature": 0.1, "alpha": 1.5},
            "Ds": {"form": "Ds", "temperature": 0.1},
            "Iu": {"form": "Iu", "temperature": 0.1},
            "Ib": {"form": "Ib", "temperature": 0.1, "b": 3.0},
            "official_code": {"temperature": 0.1, "include_anchor": True},
        }.items()
    ]
}
