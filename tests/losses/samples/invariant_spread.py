"""Invariant and spreading features: chances one by one, no difference of logarithms."""

import functools

import numpy as np
from loss_oracles import unit
from loss_sample import Sample

from tfembed import losses


def exponentials(x, temperature):
    """`exp(S / temperature)` of all rows, each with each."""
    rows = [unit(row) for row in np.float64(x)]
    return np.array(
        [[np.exp(a @ b / temperature) for b in rows] for a in rows]
    ).reshape(len(rows), len(rows))


def code(temperature=0.1, negative_weight=1.0, negative_share=1.0):
    def oracle(labels, embeddings, *_):
        e = exponentials(embeddings, temperature)
        n = len(e)
        rows = np.zeros(n)
        for i in range(n):
            (partner,) = [j for j in range(n) if labels[j] == labels[i] and j != i]
            others = [j for j in range(n) if labels[j] != labels[i]]
            others.sort(key=lambda j: -e[i, j])
            others = others[: int(np.ceil(negative_share * len(others)))]
            whole = e[i, partner] + negative_weight * sum(e[i, j] for j in others)
            rows[i] = -np.log(e[i, partner] / whole)
            for j in others:
                rest = e[i, partner] + negative_weight * sum(
                    e[i, k] for k in others if k != j
                )
                rest += (negative_weight - 1) * e[i, j]
                rows[i] -= negative_weight * np.log(rest / whole)
        return rows

    return oracle


def paper(temperature=0.1):
    def oracle(labels, embeddings, *_):
        e = exponentials(embeddings, temperature)
        n = len(e)
        first = [i for i in range(n) if labels[i] not in list(labels[:i])]
        rows = np.zeros(n)
        for r in range(n):
            whole = sum(e[r, k] for k in first)
            if r in first:
                for j in first:
                    if j != r:
                        rest = sum(e[r, k] for k in first if k != j)
                        rows[r] -= np.log(rest / whole)
            else:
                (original,) = [i for i in first if labels[i] == labels[r]]
                rows[r] = -np.log(e[r, original] / whole)
        return rows * n

    return oracle


SAMPLES = {
    losses.InvariantSpread: [
        Sample(
            functools.partial(losses.InvariantSpread, **settings),
            oracle,
            name=name,
            references=False,
            two_views=True,
            smooth=name == "paper",
            in_order=name == "paper",
            ties=name != "hardest half",  # what equals the last one counts too
            refused=(
                ({"temperature": 0}, "temperature"),
                ({"form": "both"}, "paper"),
                ({"negative_weight": 0.5}, "negative_weight"),
                ({"negative_share": 1.5}, "negative_share"),
            ),
        )
        for name, settings, oracle in [
            ("code", {}, code()),
            ("weighted", {"negative_weight": 1.5}, code(negative_weight=1.5)),
            ("hardest half", {"negative_share": 0.5}, code(negative_share=0.5)),
            ("paper", {"form": "paper"}, paper()),
            ("cold", {"temperature": 0.01}, code(0.01)),
        ]
    ]
}
