"""Matryoshka: the wrapped loss's own oracle on each prefix, divided by its length."""

import functools

import numpy as np
from loss_oracles import unit
from loss_sample import Sample
from losses.samples import contrastive, smooth_ap

from tfembed import losses

CONTRASTIVE = functools.partial(losses.Contrastive, margin=1.5)
SMOOTH_AP = functools.partial(losses.SmoothAP, temperature=0.1)


def oracle(inner, dims, weights):
    def loss(labels, embeddings, ref_labels=None, ref_embeddings=None):
        def prefixes(rows, dim):
            return None if rows is None else np.array([unit(x[:dim]) for x in rows])

        total = np.zeros(len(embeddings))
        for dim, weight in zip(dims, weights):
            refs = prefixes(ref_embeddings, dim)
            x = prefixes(embeddings, dim).reshape(len(embeddings), dim)
            total += weight * inner(labels, x, ref_labels, refs)
        return total

    return loss


def make(inner, *settings, row_chunk=None, **options):
    """A wrapped loss has the blocks of rows."""
    return losses.Matryoshka(inner(row_chunk=row_chunk), *settings, **options)


SAMPLES = {
    losses.Matryoshka: [
        Sample(
            functools.partial(make, inner, dims, weights),
            oracle(rule, dims, weights or [1.0] * len(dims)),
            name=name,
            refused=tuple(refused),
        )
        for name, inner, rule, dims, weights, refused in [
            (
                "contrastive",
                CONTRASTIVE,
                contrastive.oracle("hadsell", 1.5),
                [3, 4],  # in two dimensions rows lie so near that rounding shows
                None,
                [],
            ),
            (
                "smooth_ap",
                SMOOTH_AP,
                smooth_ap.oracle(0.1),
                (2, 3, 4),
                (0.5, 2.0, 0.3),
                [],
            ),
        ]
    ]
}
