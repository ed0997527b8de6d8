"""One remembered embedding for each training instance."""

from __future__ import annotations

import math
import random
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.hints import Labels, Rows
from tfembed.ops.arguments import check_choice, check_count, check_fraction
from tfembed.ops.ids import check_ids, flat_ids
from tfembed.ops.replicas import gather
from tfembed.ops.rows import read_rows, write_rows
from tfembed.ops.zero_rows import at_least_one_row, first_rows

INITIALIZERS = ("unit", "paper")


@keras.utils.register_keras_serializable(package="tfembed")
class MemoryBank(keras.layers.Layer):
    """Remembers one unit embedding for each of `size` training instances.

    Row i is what the encoder last said of instance i, smoothed:

        bank[i] = normalise(momentum * bank[i] + (1 - momentum) * embedding[i])

    The rows are a weight of the layer: saved, restored and resumed with the model,
    never trained, float32 under every policy. A step reads first and writes last.
    Every replica keeps the whole bank and applies the rows of all replicas, so that
    the copies stay equal.

    >>> bank = MemoryBank(size=4, dim=2, momentum=0.0, seed=0)
    >>> bank.write([[0.0, 2.0]], ids=[3])
    >>> bank.read([3]).numpy().tolist()
    [[0.0, 1.0]]

    Args:
        size: Number of instances.
        dim: Length of an embedding.
        momentum: Share of the old row that an update keeps, from 0 to below 1.
        initializer: `"unit"`, random unit vectors as the paper says, or `"paper"`,
            what its code does: each coordinate uniform in +-1 / sqrt(dim / 3),
            whose rows have length 1 only on average.
        seed: Integer seed of the initial rows; by default drawn from Python's
            generator, which `keras.utils.set_random_seed` seeds.

    Call arguments:
        ids: Integer ids in `[0, size)`.

    Returns:
        The remembered rows, `(batch, dim)`, float32, without gradient.

    Reference: Wu et al., 2018, section 3.1 (https://arxiv.org/abs/1805.01978).
    """

    def __init__(
        self,
        size: int,
        dim: int,
        momentum: float = 0.5,
        initializer: str = "unit",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_count(size=size, dim=dim)
        check_fraction(momentum=momentum)
        if momentum == 1:
            raise ValueError(
                "`momentum` must be below 1, at which the bank would never change. "
                f"Received: momentum={momentum}."
            )
        check_choice(INITIALIZERS, initializer=initializer)
        self.size = int(size)
        self.dim = int(dim)
        self.momentum = momentum
        self.initializer = initializer
        self.seed = random.randrange(2**31) if seed is None else int(seed)
        compat.forgo_xla(self)

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        self.rows = compat.add_state(
            self,
            name="rows",
            shape=(self.size, self.dim),
            initializer=self._initial_rows,
        )
        self.built = True

    def _initial_rows(self, shape, dtype=None, **kwargs):
        seed = (self.seed, 0)
        if self.initializer == "paper":
            bound = 1 / math.sqrt(self.dim / 3)
            return tf.random.stateless_uniform(shape, seed, -bound, bound)
        return tf.math.l2_normalize(tf.random.stateless_normal(shape, seed), axis=1)

    @property
    def variable(self) -> tf.Variable:
        """The rows, a `tf.Variable` of shape `(size, dim)`, float32."""
        if not self.built:
            self.build()
        return compat.variable(self.rows)

    def read(self, ids: Labels) -> tf.Tensor:
        """Returns the rows of `ids`, `(batch, dim)`; only these are copied."""
        ids, _ = check_ids(flat_ids(ids), self.size)
        return read_rows(self.variable, ids)

    def write(
        self, embeddings: Rows, ids: Labels, momentum: float | None = None
    ) -> None:
        """Moves the rows of `ids` towards `embeddings`, on all replicas.

        The embeddings of an id that comes several times are averaged first. An
        embedding that is not finite does not count.

        Args:
            embeddings: `(batch, dim)`, float; no gradient is taken.
            ids: `(batch,)`, integers in `[0, size)`.
            momentum: Used instead of the layer's; 0 overwrites.
        """
        momentum = self.momentum if momentum is None else momentum
        given = tf.stop_gradient(tf.cast(embeddings, tf.float32))
        given, places = gather(given, flat_ids(ids))
        rows = tf.shape(places)[0]
        given, places = at_least_one_row(given, places)
        places, valid = check_ids(places, self.size)
        finite = tf.reduce_all(tf.math.is_finite(given), axis=1)
        given = tf.where(finite[:, None], given, 0.0)
        # Of which rows of the batch each row is the mean: the finite ones of its id.
        alike = places[:, None] == places[None, :]
        same = tf.cast(alike & finite[None, :], tf.float32)
        count = tf.reduce_sum(same, axis=1, keepdims=True)
        mean = tf.math.divide_no_nan(tf.matmul(same, given), count)
        old = read_rows(self.variable, tf.where(valid, places, 0))
        mixed = momentum * old + (1 - momentum) * mean
        new = tf.where(count > 0, _unit_or(old, mixed), old)
        # Where XLA dropped the assertion, it also drops writes out of range.
        places = tf.where(valid, places, self.size)
        write_rows(self.variable, first_rows(places, rows), first_rows(new, rows))

    def fill(self, rows: Rows) -> None:
        """Sets all rows, `(size, dim)`; outside of replicas.

        A row without a direction, not finite or of length 0, stays what it was.
        """
        self.variable.assign(_unit_or(self.variable, tf.cast(rows, tf.float32)))

    def call(self, ids: Labels) -> tf.Tensor:
        return self.read(ids)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (None, self.dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "dim": self.dim,
            "momentum": self.momentum,
            "initializer": self.initializer,
            "seed": self.seed,
        }


def _unit_or(old, rows):
    """Returns rows divided by their length, or the old ones where they have none."""
    length = tf.norm(rows, axis=1, keepdims=True)
    sound = (length > 1e-6) & tf.math.is_finite(length)
    return tf.where(sound, tf.math.divide_no_nan(rows, length), old)
