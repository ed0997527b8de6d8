"""`tfembed.miners` as type checkers see it: by docs/write_stubs.py."""

from tfembed.hints import Label
from tfembed.miners.base import AllValidMiner as AllValidMiner
from tfembed.miners.base import Miner as Miner
from tfembed.miners.hard import HardMiner as HardMiner

__all__ = [
    "AllValidMiner",
    "DistanceWeightedMiner",
    "HardMiner",
    "MultiSimilarityMiner",
    "SemiHardMiner",
    "TopKMiner",
]

class DistanceWeightedMiner(Miner):
    def __init__(
        self,
        nearest: float = 0.5,
        farthest: float = 1.4,
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class MultiSimilarityMiner(Miner):
    def __init__(
        self, epsilon: float = 0.1, *, ignore_label: Label | None = None
    ) -> None: ...

class SemiHardMiner(Miner):
    def __init__(
        self,
        margin: float = 0.2,
        distance: str = "squared_euclidean",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class TopKMiner(Miner):
    def __init__(
        self,
        negatives: int | None = 10,
        positives: int | None = None,
        *,
        ignore_label: Label | None = None,
    ) -> None: ...
