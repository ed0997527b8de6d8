"""Losses beside the closed forms of their weights."""

import tensorflow as tf

from tfembed import losses, weighting
from tfembed.ops.masked import log_sum_exp
from tfembed.ops.pairs import over_pairs


class LiftedOnSimilarities:
    """The lifted structure loss as general pair weighting has it."""

    def __init__(self, margin=1.0):
        self.margin = margin

    def per_row(self, labels, embeddings, ref_labels=None, ref_embeddings=None):
        def rows(pairs):
            s = pairs.similarity
            pull = log_sum_exp(self.margin - s, pairs.positive)
            push = log_sum_exp(s, pairs.negative)
            both = tf.reduce_any(pairs.positive, 1) & tf.reduce_any(pairs.negative, 1)
            return tf.where(both, tf.nn.relu(pull + push), tf.zeros_like(pull))

        return over_pairs(
            rows, labels, embeddings, ref_labels, ref_embeddings, normalize=True
        )


# Each loss with its closed form.
FORMS = {
    "contrastive": (
        losses.Contrastive(margin=0.3, form="cosine"),
        weighting.ContrastiveWeights(0.3),
    ),
    "triplet": (
        losses.Triplet(margin=0.2, distance="cosine", mining="all"),
        weighting.TripletWeights(0.2),
    ),
    "lifted": (LiftedOnSimilarities(0.1), weighting.LiftedWeights(0.1)),
    "binomial": (
        losses.BinomialDeviance(alpha=2.0, beta=10.0, base=0.5),
        weighting.BinomialWeights(2.0, 10.0, 0.5),
    ),
    "multi_similarity": (
        losses.MultiSimilarity(beta=10.0, base=0.5),
        weighting.MultiSimilarityWeights(beta=10.0, base=0.5),
    ),
    "multi_similarity_unmined": (
        losses.MultiSimilarity(epsilon=None),
        weighting.MultiSimilarityWeights(epsilon=None),
    ),
}
