"""The softmax over a memory bank, with several positives of an instance."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.hints import Labels
from tfembed.layers.endpoint import BankEndpoint
from tfembed.ops.arguments import check_choice, check_count, check_not_negative
from tfembed.ops.rows import read_rows
from tfembed.ops.streamed_divergence import streamed_divergence
from tfembed.ops.zero_rows import around_zero_rows

HARD = ("least_similar", "most_similar")
HARD_BY = ("bank", "embedding")
SINGLE = ("skip", "own_row")
SIGNS = ("plus", "minus")
OVERFLOWS = ("sample", "error")


@keras.utils.register_keras_serializable(package="tfembed")
class InstanceSimilarity(BankEndpoint):
    """Tells every training instance, and what is like it, from all others.

    An endpoint layer like `InstanceSoftmax`, for instances that have positives: with
    `P[i]` the set of those of instance i, itself among them,

        p[i, j] = exp(embedding[i] . bank[j] / temperature) / sum over all rows
        loss[i] = -log sum{ p[i, k] : k in P[ids[i]] }
                  + hard_weight * KL(p[i] || p[hard positive])

    While no instance has another positive, this is `InstanceSoftmax`.

    The second term, hard positive enhancement, draws an instance's distribution over
    the bank towards that of the member of its set that it is least like. Where the
    paper's code differs from the paper there is an option.

    Positive sets are given by `set_positives`, and are a weight of the layer, saved
    and restored with the model: a table of `width` other members of each instance.
    (8 bytes each: 328 MB for ImageNet's 1.28 million images and a width of 32.) The
    rows of the bank are streamed, so that `(batch, size)` never stands in memory; a
    batch's members do, `(batch, 1 + width, dim)`.

    >>> layer = InstanceSimilarity(size=4, width=2, seed=0)
    >>> layer.build([(None, 3), (None,)])
    >>> layer.set_positives(offsets=[0, 2, 4, 5, 6], indices=[0, 1, 0, 1, 2, 3])
    0
    >>> layer.positives_of([0, 2]).numpy().tolist()
    [[1, -1], [-1, -1]]

    Args:
        size: Number of training instances, the rows of `layer.bank`.
        width: Largest number of other members of a positive set.
        temperature: Divides the similarities. The paper's code takes 0.1 for small
            images, 0.07 for ImageNet.
        momentum: Share of the old row that a bank update keeps.
        hard_weight: Weight of the second term, the paper's lambda; 0 for none.
        hard: Which member, but for the instance itself, is the hard positive:
            `"least_similar"` as in the paper, or `"most_similar"` as in its code.
        hard_by: What members are compared with for that: `"bank"`, the instance's row
            as in the paper's code, or `"embedding"`, its embedding in this batch.
        hard_sign: `"plus"` adds the divergence as in the paper's code, `"minus"`
            subtracts it as the paper's formula is printed (which drives the two
            distributions apart).
        single: What the second term does for an instance without other members:
            `"skip"`, nothing, as in the paper's code; `"own_row"`, its own row of the
            bank is the hard positive: the memory of its augmented views, which the
            paper takes.
        overflow: What `set_positives` does with more than `width` other members:
            `"sample"`, keep a random choice (a function of `seed`), or `"error"`.
        proximal: Weight of the proximal term, as in `InstanceSoftmax`.
        initializer: First rows of the bank, `"unit"` or `"paper"`.
        seed: Seed of the first rows, and of the choice of members.

    Call arguments:
        inputs: `[embeddings, ids]`, as in `InstanceSoftmax`.
        training: Whether to update the bank.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the ids are not integers.
        tf.errors.InvalidArgumentError: If an id is out of range. Under XLA the loss
            is NaN instead. No row is written either way.

    Reference: Wang et al., 2021, instance similarity learning
    (https://arxiv.org/abs/2108.02721).
    """

    def __init__(
        self,
        size: int,
        width: int = 32,
        temperature: float = 0.1,
        momentum: float = 0.5,
        hard_weight: float = 0.5,
        hard: str = "least_similar",
        hard_by: str = "bank",
        hard_sign: str = "plus",
        single: str = "skip",
        overflow: str = "sample",
        proximal: float = 0.0,
        initializer: str = "unit",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            size, temperature, momentum, proximal, initializer, seed, **kwargs
        )
        check_count(width=width)
        check_not_negative(hard_weight=hard_weight)
        check_choice(HARD, hard=hard)
        check_choice(HARD_BY, hard_by=hard_by)
        check_choice(SIGNS, hard_sign=hard_sign)
        check_choice(SINGLE, single=single)
        check_choice(OVERFLOWS, overflow=overflow)
        self.width = int(width)
        self.hard_weight = float(hard_weight)
        self.hard = hard
        self.hard_by = hard_by
        self.hard_sign = hard_sign
        self.single = single
        self.overflow = overflow

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        super().build(input_shape)
        # int64: of int32 variables and their gathers GPUs have no kernels.
        self.table = compat.add_state(
            self, "positives", (self.size, self.width), "int64", _nobody
        )

    def set_positives(self, offsets: Labels, indices: Labels) -> int:
        """Sets the positive sets of all instances; outside of replicas.

        Args:
            offsets: `(size + 1,)`, integers from 0 to `len(indices)`, not falling: the
                members of instance i are `indices[offsets[i]:offsets[i + 1]]`.
            indices: Integers in `[0, size)`. The instance itself may be left out: it
                is a member always.

        Returns:
            How many sets had more than `width` other members, and were cut.

        Raises:
            ValueError: If the arrays are not such sets, or a set is too large and
                `overflow` is `"error"`.
        """
        table, cut = _table(offsets, indices, self.size, self.width, self.seed)
        if cut and self.overflow == "error":
            raise ValueError(
                f"`width`, {self.width}, must be at least the number of other members "
                f"of each set. Received: {cut} sets with more. Make `width` larger, or "
                "let overflow='sample' choose among them."
            )
        compat.variable(self.table).assign(table)
        return cut

    def positives_of(self, ids: Labels) -> tf.Tensor:
        """Returns the other members of the sets of `ids`, `(batch, width)`, int64.

        Behind the last one stands -1.
        """
        return read_rows(compat.variable(self.table), tf.cast(ids, tf.int64))

    def row_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor, training: bool
    ) -> tf.Tensor:
        return around_zero_rows(self._row_losses, embeddings, ids)

    def _row_losses(self, embeddings, ids):
        bank = self.bank.variable
        others = self.positives_of(ids)
        there = others >= 0
        members = tf.concat([ids[:, None], tf.where(there, others, 0)], axis=1)
        rows = read_rows(bank, members)  # the instance's own row is the first
        scores = tf.linalg.matvec(rows, embeddings) / self.temperature
        counts = tf.pad(there, [[0, 0], [1, 0]], constant_values=True)
        log_set = tf.reduce_logsumexp(
            tf.where(counts, scores, scores.dtype.min), axis=1
        )
        hard, apart = self._hard_rows(embeddings, rows, there)
        log_sum, divergence = streamed_divergence(
            embeddings, hard, apart, bank, self.temperature
        )
        losses = log_sum - log_set + self.proximal_losses(embeddings, ids)
        if self.hard_weight:
            sign = {"plus": 1.0, "minus": -1.0}[self.hard_sign]
            losses += sign * self.hard_weight * divergence
        return losses

    def _hard_rows(self, embeddings, rows, there):
        """Returns each hard positive, `(batch, dim)`, and which rows have one."""
        own, others = rows[:, 0], rows[:, 1:]
        if not self.hard_weight:
            return own, tf.zeros_like(there[:, 0])
        anchors = own if self.hard_by == "bank" else tf.stop_gradient(embeddings)
        scores = tf.linalg.matvec(others, anchors)
        if self.hard == "least_similar":
            place = tf.argmin(tf.where(there, scores, scores.dtype.max), axis=1)
        else:
            place = tf.argmax(tf.where(there, scores, scores.dtype.min), axis=1)
        some = tf.reduce_any(there, axis=1)
        hard = tf.gather(others, place, axis=1, batch_dims=1)
        hard = tf.where(some[:, None], hard, own)
        return hard, some if self.single == "skip" else tf.ones_like(some)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "width": self.width,
            "hard_weight": self.hard_weight,
            "hard": self.hard,
            "hard_by": self.hard_by,
            "hard_sign": self.hard_sign,
            "single": self.single,
            "overflow": self.overflow,
        }


def _nobody(shape, dtype=None, **kwargs):
    return tf.fill(shape, tf.constant(-1, dtype or "int64"))


def _table(offsets, indices, size, width, seed):
    """Returns the other members `(size, width)`, -1 behind them, and the cut sets.

    Args:
        offsets: As in `InstanceSimilarity.set_positives`.
        indices: As there.
        size: Number of instances.
        width: Columns of the table.
        seed: Integer; which members of a set that is too large are kept.
    """
    offsets, indices = np.asarray(offsets), np.asarray(indices)
    sound = (
        offsets.shape == (size + 1,)
        and indices.ndim == 1
        and offsets.dtype.kind in "iu"
        and (indices.dtype.kind in "iu" or not indices.size)
    )
    if not sound:
        raise ValueError(
            "`offsets` and `indices` must be arrays of integers, of shapes "
            f"{(size + 1,)} and `(members of all sets,)`. Received: shapes "
            f"{offsets.shape} and {indices.shape}, of {offsets.dtype} and "
            f"{indices.dtype}."
        )
    offsets, indices = offsets.astype(np.int64), indices.astype(np.int64)
    counts = np.diff(offsets)
    if offsets[0] or offsets[-1] != len(indices) or (counts < 0).any():
        raise ValueError(
            "`offsets` must go from 0 to the number of `indices`, and not fall. "
            f"Received: from {offsets[0]} to {offsets[-1]}, with {len(indices)} "
            "indices."
        )
    if indices.size and not (indices.min() >= 0 and indices.max() < size):
        raise ValueError(
            f"`indices` must lie in [0, {size}), the rows of the memory bank. "
            f"Received: from {indices.min()} to {indices.max()}."
        )
    pairs = np.unique(np.repeat(np.arange(size) * size, counts) + indices)
    rows, indices = pairs // size, pairs % size  # sorted, and each member once
    other = rows != indices
    rows, indices = rows[other], indices[other]
    counts = np.bincount(rows, minlength=size)
    cut = int(np.sum(counts > width))
    if cut:  # each set in random order, of which the first are kept
        noise = np.random.default_rng(seed).random(len(rows))
        order = np.lexsort((noise, rows))
        rows, indices = rows[order], indices[order]
    starts = np.cumsum(counts) - counts
    places = np.arange(len(rows)) - starts[rows]
    kept = places < width
    table = np.full((size, width), -1, np.int64)
    table[rows[kept], places[kept]] = indices[kept]
    return table, cut
