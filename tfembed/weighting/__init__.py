"""General pair weighting, executable: the weights of any loss, a loss of any weights.

A pair loss pulls and pushes by the derivatives of its value with respect to the
similarities of the pairs: these are the weights of general pair weighting (Wang et
al., 2019, section 3, https://arxiv.org/abs/1904.06627). `pair_weights` computes them
for any loss; the closed forms are those of the paper; `PairWeighted` trains by weights
that one writes oneself; `similarity_types` tells what a loss's weights depend on.

`python -m tfembed.weighting` draws how every loss weighs a pair. Importing this room
imports no TensorFlow.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "BinomialWeights": "closed_forms",
        "ContrastiveWeights": "closed_forms",
        "LiftedWeights": "closed_forms",
        "MultiSimilarityWeights": "closed_forms",
        "PairWeighted": "surrogate",
        "PairWeights": "closed_forms",
        "TripletWeights": "closed_forms",
        "anchor_weights": "anchors",
        "pair_weighted": "surrogate",
        "pair_weights": "derivatives",
        "similarity_types": "dependence",
    },
)
