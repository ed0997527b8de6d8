"""What the miners have in common, and the one that keeps all pairs."""

from __future__ import annotations

import inspect
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Label
from tfembed.ops.ignored_labels import taking_ignore_label
from tfembed.ops.pairs import Pairs


class Miner:
    """Says which positives and which negatives of each anchor count.

    A miner is called with `tfembed.ops.pairs.Pairs` and returns two masks
    `(rows, refs)`. It has no state and no gradient; its constructor's arguments are
    attributes, and its config.

    Every miner takes `ignore_label=` besides its own arguments: rows and references of
    that label are in no pair before it chooses, and the loss is the mean over what
    remains, of all replicas, as if those rows were not there.

    Args:
        ignore_label: A label, an integer or a string; `None`: no row is left out.
    """

    ignore_label: Label | None = None

    def __init__(self, ignore_label: Label | None = None) -> None:
        if ignore_label is not None:
            self.ignore_label = ignore_label

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _signed(taking_ignore_label(cls.__init__))

    def __call__(self, pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the masks of the positives and of the negatives that count."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, by name."""
        return {**vars(self), "ignore_label": self.ignore_label}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Miner:
        """Makes a miner from its config."""
        return cls(**config)


@keras.utils.register_keras_serializable(package="tfembed")
class AllValidMiner(Miner):
    """Keeps every pair of an anchor that has positives and negatives.

    An anchor with pairs of one kind alone, which makes no triplet, keeps nothing.

    >>> from tfembed.losses import Contrastive
    >>> from tfembed.miners import AllValidMiner
    >>> labels, embeddings = [0, 0], [[1.0, 0.0], [0.6, 0.8]]
    >>> float(Contrastive()(labels, embeddings)) > 0
    True
    >>> float(Contrastive(miner=AllValidMiner())(labels, embeddings))  # no negatives
    0.0
    """

    def __call__(self, pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
        both = tf.reduce_any(pairs.positive, axis=1)
        both &= tf.reduce_any(pairs.negative, axis=1)
        return pairs.positive & both[:, None], pairs.negative & both[:, None]


def _signed(constructor):
    """Shows `ignore_label` among the arguments of a constructor that takes it."""
    signature = inspect.signature(constructor)
    ours = inspect.Parameter(
        "ignore_label",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation="Label | None",
    )
    parameters = {**signature.parameters, ours.name: ours}
    # Stable: only what takes all other keywords comes behind.
    ordered = sorted(parameters.values(), key=lambda each: each.kind)
    constructor.__signature__ = signature.replace(parameters=ordered)
    return constructor
