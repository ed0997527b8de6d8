"""Losses: one a file, a pure function and its Keras class."""

from tfembed.losses.contrastive import Contrastive, contrastive
from tfembed.losses.multi_similarity import MultiSimilarity, multi_similarity

__all__ = [
    "Contrastive",
    "MultiSimilarity",
    "contrastive",
    "multi_similarity",
]
