"""`tfembed.weighting` as type checkers see it: by docs/write_stubs.py."""

from collections.abc import Callable

import tensorflow as tf

from tfembed.hints import Label
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.pairs import Pairs
from tfembed.weighting.anchors import anchor_weights as anchor_weights
from tfembed.weighting.closed_forms import BinomialWeights as BinomialWeights
from tfembed.weighting.closed_forms import ContrastiveWeights as ContrastiveWeights
from tfembed.weighting.closed_forms import LiftedWeights as LiftedWeights
from tfembed.weighting.closed_forms import (
    MultiSimilarityWeights as MultiSimilarityWeights,
)
from tfembed.weighting.closed_forms import PairWeights as PairWeights
from tfembed.weighting.closed_forms import TripletWeights as TripletWeights
from tfembed.weighting.dependence import similarity_types as similarity_types
from tfembed.weighting.derivatives import pair_weights as pair_weights
from tfembed.weighting.surrogate import pair_weighted as pair_weighted

__all__ = [
    "BinomialWeights",
    "ContrastiveWeights",
    "LiftedWeights",
    "MultiSimilarityWeights",
    "PairWeighted",
    "PairWeights",
    "TripletWeights",
    "anchor_weights",
    "pair_weighted",
    "pair_weights",
    "similarity_types",
]

class PairWeighted(FunctionalLoss):
    function = staticmethod(pair_weighted)
    def __init__(
        self,
        positive_weight: Callable[[Pairs], tf.Tensor] | PairWeights,
        negative_weight: Callable[[Pairs], tf.Tensor] | PairWeights | None = None,
        mining: Callable[[Pairs], tuple[tf.Tensor, tf.Tensor]] | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "pair_weighted",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...
