"""Miners: which pairs count. Masks of pairs, no state."""

from tfembed.miners.multi_similarity import MultiSimilarityMiner

__all__ = ["MultiSimilarityMiner"]
