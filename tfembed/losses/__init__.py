"""Losses: one a file, a pure function and its Keras class."""

from tfembed.losses.affinity_frobenius import AffinityFrobenius, affinity_frobenius
from tfembed.losses.binomial_deviance import BinomialDeviance, binomial_deviance
from tfembed.losses.contrastive import Contrastive, contrastive
from tfembed.losses.coupled_clusters import CoupledClusters, coupled_clusters
from tfembed.losses.fast_ap import FastAP, fast_ap
from tfembed.losses.histogram import Histogram, histogram
from tfembed.losses.marginal import Marginal, marginal
from tfembed.losses.multi_similarity import MultiSimilarity, multi_similarity
from tfembed.losses.nt_xent import NTXent, nt_xent
from tfembed.losses.range_loss import RangeLoss, range_loss
from tfembed.losses.sup_con import SupCon, sup_con
from tfembed.losses.triplet import Triplet, triplet

__all__ = [
    "AffinityFrobenius",
    "BinomialDeviance",
    "Contrastive",
    "CoupledClusters",
    "FastAP",
    "Histogram",
    "Marginal",
    "MultiSimilarity",
    "NTXent",
    "RangeLoss",
    "SupCon",
    "Triplet",
    "affinity_frobenius",
    "binomial_deviance",
    "contrastive",
    "coupled_clusters",
    "fast_ap",
    "histogram",
    "marginal",
    "multi_similarity",
    "nt_xent",
    "range_loss",
    "sup_con",
    "triplet",
]
