"""Instance discrimination against sampled rows of the memory bank."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.layers.endpoint import BankEndpoint
from tfembed.ops.arguments import check_choice, check_count
from tfembed.ops.masked import masked_mean
from tfembed.ops.nce import info_nce, log_normalizer_estimate, noise_contrastive
from tfembed.ops.replicas import gather, position, total
from tfembed.ops.rows import overwrite, read_rows
from tfembed.ops.sampled_scores import (
    attach_gradient,
    sampled_readout,
    sampled_scores,
)
from tfembed.ops.zero_rows import around_zero_rows

NEGATIVES = ("shared", "per_anchor")
NORMALIZERS = ("moving_average", "first_batch", "analytic")
OBJECTIVES = ("nce", "infonce")
DECAY = 0.99


@keras.utils.register_keras_serializable(package="tfembed")
class NoiseContrastive(BankEndpoint):
    """Tells every training instance from `num_negatives` others.

    An endpoint layer like `InstanceSoftmax`, whose cost does not grow with the
    number of instances. Negatives are drawn uniformly from all rows of the bank,
    with replacement; the own row may be among them, as in the paper's code.

    With s the similarity divided by `temperature`, m negatives and Z the
    normaliser:

        h(s) = exp(s) / Z / (exp(s) / Z + m / size)
        nce:     -log h(own) - sum{ log(1 - h(s)) : negatives }
        infonce: -log( exp(own) / (exp(own) + sum{ exp(s) : negatives }) )

    plus `proximal * ||embedding - bank[id]||^2` in both. InfoNCE has no Z.

    Draws are made from (seed, step) for the global batch, the step being a weight
    of the layer: they are the same on any number of replicas and after a resume.

    Args:
        size: Number of training instances, the rows of `layer.bank`.
        num_negatives: Negatives m of each anchor.
        temperature: Divides the similarities.
        momentum: Share of the old row that a bank update keeps.
        proximal: Weight of the paper's proximal term.
        negatives: `"shared"`, one draw for the whole batch (a matmul), or
            `"per_anchor"`, the paper's draw for each anchor (a gather).
        normalizer: How Z is known. `"first_batch"`, measured once, as in the
            paper's code: right for a random bank only while it stays random.
            `"moving_average"`, measured in every training step, decay 0.99.
            `"analytic"`, `size * exp(1 / (2 * dim * temperature^2))`, for random
            isotropic rows. A positive float: that Z. Kept in `layer.normalizer`.
        objective: `"nce"`, or `"infonce"`.
        initializer: First rows of the bank, `"unit"` or `"paper"`.
        seed: Seed of the first rows and of the draws.

    Call arguments:
        inputs: `[embeddings, ids]`, as in `InstanceSoftmax`.
        training: Whether to update the bank and Z.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the ids are not integers.
        tf.errors.InvalidArgumentError: If an id is out of range. Under XLA the loss
            is NaN instead. No row is written either way.

    Reference: Wu et al., 2018, equations 5 to 10
    (https://arxiv.org/abs/1805.01978); InfoNCE: van den Oord et al., 2018.
    """

    def __init__(
        self,
        size: int,
        num_negatives: int = 4096,
        temperature: float = 0.07,
        momentum: float = 0.5,
        proximal: float = 0.0,
        negatives: str = "shared",
        normalizer: str | float = "moving_average",
        objective: str = "nce",
        initializer: str = "unit",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            size, temperature, momentum, proximal, initializer, seed, **kwargs
        )
        check_count(num_negatives=num_negatives)
        check_choice(NEGATIVES, negatives=negatives)
        check_choice(OBJECTIVES, objective=objective)
        if normalizer not in NORMALIZERS:
            number = type(normalizer) in (int, float)
            if not number or not 0 < float(normalizer) < math.inf:
                raise ValueError(
                    f"`normalizer` must be one of {NORMALIZERS}, or a positive "
                    f"number. Received: normalizer={normalizer!r}."
                )
        self.num_negatives = int(num_negatives)
        self.negatives = negatives
        self.normalizer_policy = normalizer
        self.objective = objective

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        super().build(input_shape)
        self.step = compat.add_state(self, "step", (), "int64")
        self.log_normalizer = compat.add_state(self, "log_normalizer", ())
        self.mean_noise_posterior = compat.add_state(self, "noise_posterior", ())

    @property
    def normalizer(self) -> float:
        """Z as of the last training step, a float; 0 before it was measured."""
        if self.objective == "infonce":
            raise AttributeError("InfoNCE has no normaliser.")
        fixed = self._fixed_log_normalizer()
        if fixed is not None:
            return math.exp(fixed)
        if not compat.number(self.step):
            return 0.0
        return math.exp(compat.number(self.log_normalizer))

    @property
    def noise_posterior(self) -> float:
        """Mean h over the noise terms of the last training step, a float.

        Above one half, Z is far too small and the loss tells the encoder little.
        """
        return compat.number(self.mean_noise_posterior)

    def row_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor, training: bool
    ) -> tf.Tensor:
        bank = self.bank.variable
        own = read_rows(bank, ids)
        positive = tf.reduce_sum(embeddings * own, axis=1) / self.temperature
        drawn = self._draw(tf.shape(embeddings)[0])
        if self.negatives == "shared":
            rows = read_rows(bank, drawn)
            negatives = around_zero_rows(
                lambda queries: tf.matmul(queries, rows, transpose_b=True), embeddings
            )
            negatives /= self.temperature
            losses = self._contrast(positive, negatives, training)
        else:
            negatives = sampled_scores(embeddings, bank, drawn) / self.temperature
            with tf.GradientTape() as tape:
                tape.watch(negatives)
                losses = self._contrast(positive, negatives, training)
            weights = tape.gradient(losses, negatives) / self.temperature
            readout = sampled_readout(weights, bank, drawn)
            losses = attach_gradient(losses, embeddings, readout)
        return losses + self.proximal_losses(embeddings, ids)

    def _contrast(self, positive, negatives, training):
        """Returns `(batch,)` from scores, and remembers what they say of Z."""
        if self.objective == "infonce":
            return info_nce(positive, negatives)
        losses, posterior = noise_contrastive(
            positive,
            negatives,
            self._log_normalizer(positive, negatives, training),
            self.size,
        )
        if training:
            scores = tf.concat([positive[:, None], negatives], axis=1)
            finite = tf.reduce_all(tf.math.is_finite(scores), axis=1)
            posterior, finite = gather(posterior, finite)
            last = compat.variable(self.mean_noise_posterior)
            mean = masked_mean(tf.where(finite, posterior, 0.0), finite)
            overwrite(last, tf.where(tf.reduce_any(finite), mean, last))
        return losses

    def after_loss(self, embeddings: tf.Tensor, ids: tf.Tensor) -> None:
        super().after_loss(embeddings, ids)
        # A step of which no row counts has not been: Z is measured in the next one.
        finite = tf.reduce_any(tf.reduce_all(tf.math.is_finite(embeddings), axis=1))
        counts = total(tf.cast(finite, tf.int64)) > 0
        step = compat.variable(self.step)
        overwrite(step, step + tf.cast(counts, step.dtype))

    def _draw(self, batch):
        """Returns ids of negatives, `(m,)` or `(batch, m)`."""
        first, everyone = position(batch)
        shape = [self.num_negatives]
        if self.negatives == "per_anchor":
            shape = [everyone, self.num_negatives]
        drawn = tf.random.stateless_uniform(
            shape,
            tf.stack([tf.constant(self.seed, tf.int64), compat.variable(self.step)]),
            maxval=self.size,
            dtype=tf.int64,
            alg="philox",  # the same draw on a CPU and on a GPU
        )
        if self.negatives == "per_anchor":
            drawn = drawn[first : first + batch]
        return drawn

    def _fixed_log_normalizer(self):
        policy = self.normalizer_policy
        if policy == "analytic":
            spread = 2 * self.bank.dim * self.temperature**2
            return math.log(self.size) + 1 / spread
        if policy in NORMALIZERS:
            return None
        return math.log(policy)

    def _log_normalizer(self, positive, negatives, training):
        """Returns log Z for this step and, in training, remembers it."""
        fixed = self._fixed_log_normalizer()
        if fixed is not None:
            return tf.cast(fixed, tf.float32)
        known = tf.identity(compat.variable(self.log_normalizer))
        first = tf.equal(compat.variable(self.step), 0)
        everyone = gather(tf.stop_gradient(positive), tf.stop_gradient(negatives))
        measured = log_normalizer_estimate(*everyone, self.size)
        if self.normalizer_policy == "first_batch" or not training:
            value = tf.where(first, measured, known)
        else:
            moved = tf.reduce_logsumexp(
                tf.stack([known + math.log(DECAY), measured + math.log(1 - DECAY)])
            )
            value = tf.where(first, measured, moved)
        value = tf.where(tf.math.is_finite(measured), value, known)
        if training:
            overwrite(compat.variable(self.log_normalizer), value)
        return value

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_negatives": self.num_negatives,
            "negatives": self.negatives,
            "normalizer": self.normalizer_policy,
            "objective": self.objective,
        }
