"""Layers: one a file. What has state is a layer, and its state is saved."""

from tfembed.layers.centers import Centers
from tfembed.layers.cross_batch import CrossBatch
from tfembed.layers.dynamic_soft_margin import DynamicSoftMargin
from tfembed.layers.feature_queue import FeatureQueue
from tfembed.layers.generalized_mean import GeneralizedMean
from tfembed.layers.instance_similarity import InstanceSimilarity
from tfembed.layers.instance_softmax import InstanceSoftmax
from tfembed.layers.mahalanobis import Mahalanobis
from tfembed.layers.margin import Margin
from tfembed.layers.memory_bank import MemoryBank
from tfembed.layers.noise_contrastive import NoiseContrastive
from tfembed.layers.parametric_instance_softmax import ParametricInstanceSoftmax
from tfembed.layers.proxies import Proxies
from tfembed.layers.proxy_softmax import ProxySoftmax
from tfembed.layers.unit_norm import UnitNorm

__all__ = [
    "Centers",
    "CrossBatch",
    "DynamicSoftMargin",
    "FeatureQueue",
    "GeneralizedMean",
    "InstanceSimilarity",
    "InstanceSoftmax",
    "Mahalanobis",
    "Margin",
    "MemoryBank",
    "NoiseContrastive",
    "ParametricInstanceSoftmax",
    "Proxies",
    "ProxySoftmax",
    "UnitNorm",
]
