"""Miners: which pairs count. Masks of pairs, no state."""

from tfembed.miners.base import AllValidMiner
from tfembed.miners.base import Miner as Miner
from tfembed.miners.distance_weighted import DistanceWeightedMiner
from tfembed.miners.hard import HardMiner
from tfembed.miners.multi_similarity import MultiSimilarityMiner
from tfembed.miners.semi_hard import SemiHardMiner
from tfembed.miners.top_k import TopKMiner

__all__ = [
    "AllValidMiner",
    "DistanceWeightedMiner",
    "HardMiner",
    "MultiSimilarityMiner",
    "SemiHardMiner",
    "TopKMiner",
]
