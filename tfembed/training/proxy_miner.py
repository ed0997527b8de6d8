"""Positives of all instances, found near generated proxies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.ops.arguments import (
    check_choice,
    check_count,
    check_fraction,
    check_positive,
)
from tfembed.ops.ids import flat_ids
from tfembed.ops.streamed_neighbors import streamed_neighbors
from tfembed.ops.zero_rows import around_zero_rows
from tfembed.training.positive_sets import PositiveSets
from tfembed.training.proxy_gan import ProxyGAN

RULES = ("score", "euclidean")


class ProxyMiner:
    """Finds instances that are near an instance's proxy, one pass over the images.

    For each image the generator makes a proxy; where the discriminator's D(near) of
    it, the score s, is above `score`, those of its `neighbors` nearest rows of the
    bank that lie within a radius of the proxy become the instance's positives, and it
    becomes theirs. Never an instance of itself.

    A pass asks what was known before it: sets grow when it is over.

    >>> from tfembed.layers import InstanceSimilarity, UnitNorm
    >>> from tfembed.training import PositiveSets, ProxyGAN, ProxyMiner
    >>> layers = [keras.Input((8,)), keras.layers.Dense(4), UnitNorm()]
    >>> encoder = keras.Sequential(layers)
    >>> endpoint = InstanceSimilarity(64)
    >>> images, ids = np.random.rand(64, 8).astype("float32"), np.arange(64)
    >>> embeddings = endpoint([encoder(images), ids])
    >>> gan = ProxyGAN(encoder, endpoint, candidates=16)
    >>> gan.compile(learning_rate=1e-4)  # and gan.fit(...)
    >>> batches = tf.data.Dataset.from_tensors({"images": images, "ids": ids})
    >>> miner = ProxyMiner(gan, score=0.0, radius=0.5)
    >>> sets, told = miner.mine(batches, PositiveSets.alone(64))
    >>> sets.mean_others > 0, sorted(told)
    (True, ['accepted', 'pairs', 'score'])

    Args:
        gan: A `ProxyGAN`, trained.
        score: s must be above it. In the paper's code 0.5 for small images, 0.3 for
            ImageNet.
        rule: The radius. `"score"`, as in the paper's code: the cosine of proxy and
            row must be above `radius + (1 - s) * (1 - radius)`. `"euclidean"`, as in
            the paper: their distance must be below `radius`.
        radius: In the paper's code 0.6 for small images, 0.3 for ImageNet. (Of unit
            rows, distances 0.89 and 1.18 are cosines of 0.6 and 0.3.)
        neighbors: Rows that are looked at; 10 in the paper's code.
        proxies: How many proxies of an image are made, by other negatives (and
            positives), of which that with the largest score is taken, as in the
            paper. Its code makes one.

    Reference: Wang et al., 2021, section 3.2 (https://arxiv.org/abs/2108.02721).
    """

    def __init__(
        self,
        gan: ProxyGAN,
        score: float = 0.5,
        rule: str = "score",
        radius: float = 0.6,
        neighbors: int = 10,
        proxies: int = 1,
    ) -> None:
        check_fraction(score=score)
        check_choice(RULES, rule=rule)
        check_positive(radius=radius)
        check_count(neighbors=neighbors, proxies=proxies)
        if rule == "score" and radius > 1:
            raise ValueError(
                "`radius` is a cosine with rule='score', and must be at most 1. "
                f"Received: radius={radius!r}."
            )
        self.gan = gan
        self.score = float(score)
        self.rule = rule
        self.radius = float(radius)
        self.neighbors = int(neighbors)
        self.proxies = int(proxies)
        self._step: Any = None

    def mine(
        self,
        batches: tf.data.Dataset,
        sets: PositiveSets,
        number: int = 0,
        strategy: tf.distribute.Strategy | None = None,
        report: Callable[[int, int], object] | None = None,
        limit: float = math.inf,
    ) -> tuple[PositiveSets, dict[str, float]]:
        """Makes one pass.

        Args:
            batches: `tf.data.Dataset` of dictionaries of `images` and `ids`, of known
                cardinality: each image once.
            sets: The `PositiveSets` so far. (What the generator's negatives must not
                be, the endpoint layer says.)
            number: Integer, of the pass: other numbers are other draws.
            strategy: A `tf.distribute.Strategy`, whose replicas share the work.
            report: Called as `report(steps done, steps)` after each batch.
            limit: As in `PositiveSets.with_best_pairs`; best is what lies farthest
                inside the radius.

        Returns:
            The grown `PositiveSets`, and a dictionary of what was seen: `accepted`,
            the share of images whose score was above the threshold; `score`, the mean
            score; `pairs`, how many (instance, other member) were added.
        """
        strategy = strategy or tf.distribute.get_strategy()
        steps = int(batches.cardinality())
        if self._step is None:
            self._step = _distributed(strategy, self.candidates)
        pairs, scores = [], []
        for step, batch in enumerate(strategy.experimental_distribute_dataset(batches)):
            # Apart from the numbers of training steps, which are not negative.
            turn = -1 - (number * steps + step) * self.proxies
            ids, rows, inside, score = (
                np.concatenate(
                    [part.numpy() for part in strategy.experimental_local_results(each)]
                )
                for each in self._step(batch, tf.constant(turn, tf.int64))
            )
            place, column = np.nonzero(inside > 0)
            pairs.append((ids[place], rows[place, column], inside[place, column]))
            scores.append(score)
            if report is not None:
                report(step + 1, steps)
        scores = np.concatenate(scores)
        near, others, goodness = map(np.concatenate, zip(*pairs))
        grown = sets.with_best_pairs(near, others, goodness, limit)
        return grown, {
            "accepted": float(np.mean(scores > self.score)),
            "score": float(np.mean(scores)),
            "pairs": grown.others - sets.others,
        }

    def candidates(
        self, batch: Mapping[str, tf.Tensor], turn: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Finds what lies near the proxies of one batch.

        Args:
            batch: Dictionary of `images` and `ids`.
            turn: Scalar int64, the draws' number.

        Returns:
            `ids`, `(batch,)`; rows of the bank, `(batch, k)`; by how much their cosine
            is above what it must be, `(batch, k)`, 0 for what is no positive; and the
            scores, `(batch,)`.
        """
        return around_zero_rows(
            lambda images, ids: self._candidates(images, ids, turn),
            batch["images"],
            flat_ids(batch["ids"]),
        )

    def _candidates(self, images, ids, turn):
        _, endpoint = self.gan.frozen()
        bank = endpoint.bank.variable
        anchors = self.gan.embed(images)
        proxies, scores = [], []
        for each in range(self.proxies):
            *triplets, sound = self.gan.triplets(anchors, ids, turn - each)
            proxy, score = self.gan.proxies(*triplets)
            proxies.append(proxy)
            scores.append(tf.where(sound, score, 0.0))
        best = tf.argmax(tf.stack(scores, axis=1), axis=1)
        proxy = tf.gather(tf.stack(proxies, axis=1), best, axis=1, batch_dims=1)
        score = tf.reduce_max(tf.stack(scores, axis=1), axis=1)
        # One more, for the instance itself may be among them.
        k = min(self.neighbors + 1, bank.shape[0])
        cosines, rows = streamed_neighbors(proxy, bank, k)
        others = rows != ids[:, None]
        near = tf.cumsum(tf.cast(others, tf.int32), axis=1) <= self.neighbors
        inside = cosines - self.least_cosine(score)[:, None]
        found = others & near & (score > self.score)[:, None]
        return ids, rows, tf.where(found, tf.maximum(inside, 0.0), 0.0), score

    def least_cosine(self, score: tf.Tensor) -> tf.Tensor:
        """Returns what a row's cosine with a proxy of this score must be above."""
        if self.rule == "euclidean":
            return tf.ones_like(score) * (1 - self.radius**2 / 2)
        return self.radius + (1 - score) * (1 - self.radius)


def _distributed(strategy, function):
    @tf.function(reduce_retracing=True)
    def step(batch, turn):
        return strategy.run(function, args=(batch, turn))

    return step
