"""Layers: one a file. What has state is a layer, and its state is saved."""

from tfembed.layers.instance_softmax import InstanceSoftmax
from tfembed.layers.memory_bank import MemoryBank
from tfembed.layers.noise_contrastive import NoiseContrastive
from tfembed.layers.parametric_instance_softmax import ParametricInstanceSoftmax
from tfembed.layers.unit_norm import UnitNorm

__all__ = [
    "InstanceSoftmax",
    "MemoryBank",
    "NoiseContrastive",
    "ParametricInstanceSoftmax",
    "UnitNorm",
]
