"""Matryoshka representations: a loss of every prefix (Kusupati et al., 2022)."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_count, check_not_negative
from tfembed.ops.classes import refuse_similarities
from tfembed.ops.floats import like, widen
from tfembed.ops.labels import flat_labels
from tfembed.ops.pair_checks import check_pairs
from tfembed.ops.pair_types import References
from tfembed.ops.unit_rows import unit_rows


def matryoshka(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    loss: FunctionalLoss,
    dims: Sequence[int],
    weights: Sequence[Number] | None = None,
) -> tf.Tensor:
    """Trains the first numbers of an embedding to be an embedding of their own.

        value[i] = sum{weights[k] * loss(prefix(x, dims[k]))[i] : k}
        prefix(x, d) = x[:, :d] / |x[:, :d]|

    Every prefix is normalised and given to the same loss. A search can then keep the
    first numbers of an embedding alone, divided by their length again, in the place of
    all. A valid term is one of the wrapped loss, whose miner and `row_chunk` hold for
    each prefix; its `reduction` does not matter. In the paper each prefix has a softmax
    classifier, and the weights are 1.

    Args:
        labels: As in the wrapped loss.
        embeddings: `(batch, dim)`, float; dim at least the last of `dims`.
        ref_labels: As in the wrapped loss, if it takes references.
        ref_embeddings: Likewise.
        loss: A loss of `tfembed.losses` that takes embeddings.
        dims: How many numbers each prefix has, from few to many. The whole embedding is
            trained only if the last of them is dim.
        weights: Of each prefix, at least 0; `None`: 1 each.

    Returns:
        `(batch,)`, float32 or float64.

    Reference: Kusupati et al., 2022, equation 1 (https://arxiv.org/abs/2205.13147).
    """
    _check(loss, dims, weights)
    refuse_similarities("matryoshka", embeddings)
    whole = widen(embeddings)
    refs = ref_embeddings
    if isinstance(refs, References):
        refs = refs.embeddings
    check_pairs(flat_labels(labels), whole, ref_labels, refs)
    if whole.shape[1] is None or whole.shape[1] < dims[-1]:
        raise ValueError(
            "`dims` must be no more than the numbers that an embedding has. Received: "
            f"dims={list(dims)} and embeddings of shape {tuple(whole.shape)}."
        )
    total = 0.0
    for number, dim in enumerate(dims):
        references = {}
        if refs is not None:
            prefix = unit_rows(widen(refs)[:, :dim])
            if isinstance(ref_embeddings, References):
                present, own = ref_embeddings.present, ref_embeddings.own
                prefix = References(prefix, present, own)
            references = {"ref_labels": ref_labels, "ref_embeddings": prefix}
        losses = loss.per_row(labels, unit_rows(whole[:, :dim]), **references)
        weight = 1.0 if weights is None else weights[number]
        total += like(weight, losses) * losses
    return total


def _check(loss, dims, weights):
    function = getattr(type(loss), "function", None) or getattr(loss, "per_row", None)
    if not hasattr(loss, "per_row"):
        raise TypeError(
            "`loss` must be a loss of `tfembed.losses`, such as `MultiSimilarity()`. "
            f"Received: loss={loss!r}."
        )
    if "similarities" in inspect.signature(function).parameters:
        raise ValueError(
            "`loss` must be a loss of embeddings: one on similarities to proxies sees "
            f"no numbers of an embedding. Received: loss={loss!r}."
        )
    if getattr(loss, "ignore_label", None) is not None:
        raise ValueError(
            "`loss` must have no `ignore_label`: give it to `Matryoshka` instead. "
            f"Received: ignore_label={loss.ignore_label!r}."
        )
    if not isinstance(dims, (list, tuple)) or not dims:
        raise ValueError(
            "`dims` must be a list of how many numbers each prefix has, such as "
            f"[16, 32, 64]. Received: dims={dims!r}."
        )
    for dim in dims:
        check_count(dims=dim)
    if list(dims) != sorted(set(dims)):
        raise ValueError(
            "`dims` must be different numbers, from the smallest to the largest. "
            f"Received: dims={dims!r}."
        )
    if weights is None:
        return
    if not isinstance(weights, (list, tuple)) or len(weights) != len(dims):
        raise ValueError(
            "`weights` must be a list of as many numbers as there are `dims`, or None. "
            f"Received: weights={weights!r} and dims={dims!r}."
        )
    for weight in weights:
        check_not_negative(weights=weight)


@keras.utils.register_keras_serializable(package="tfembed")
class Matryoshka(FunctionalLoss):
    """`matryoshka` as a Keras loss.

    >>> from tfembed.losses import NTXent
    >>> loss = Matryoshka(NTXent(temperature=1.0), dims=[1, 2])
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [-0.6, 0.8]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.5315

    Args:
        loss, dims, weights: As in `matryoshka`.
        reduction, name: As in `keras.losses.Loss`.
    """

    function = staticmethod(matryoshka)

    def __init__(
        self,
        loss: FunctionalLoss,
        dims: Sequence[int],
        weights: Sequence[Number] | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "matryoshka",
    ) -> None:
        if isinstance(loss, dict):  # from a config
            loss = keras.losses.deserialize(loss)
        _check(loss, dims, weights)
        super().__init__(
            reduction=reduction,
            name=name,
            loss=loss,
            dims=[int(dim) for dim in dims],
            weights=None if weights is None else list(weights),
        )
