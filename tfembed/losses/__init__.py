"""Losses: one a file, a pure function and its Keras class."""

from tfembed.losses.affinity_frobenius import AffinityFrobenius, affinity_frobenius
from tfembed.losses.affinity_projection import AffinityProjection, affinity_projection
from tfembed.losses.angular import Angular, angular
from tfembed.losses.arcface import ArcFace, arcface
from tfembed.losses.base import FunctionalLoss as FunctionalLoss
from tfembed.losses.binomial_deviance import BinomialDeviance, binomial_deviance
from tfembed.losses.circle import Circle, circle
from tfembed.losses.contrastive import Contrastive, contrastive
from tfembed.losses.cosface import CosFace, cosface
from tfembed.losses.coupled_clusters import CoupledClusters, coupled_clusters
from tfembed.losses.facility_location import FacilityLocation, facility_location
from tfembed.losses.fast_ap import FastAP, fast_ap
from tfembed.losses.hardnet import HardNet, hardnet
from tfembed.losses.histogram import Histogram, histogram
from tfembed.losses.intra_pair_variance import IntraPairVariance, intra_pair_variance
from tfembed.losses.invariant_spread import InvariantSpread, invariant_spread
from tfembed.losses.large_margin_softmax import LargeMarginSoftmax, large_margin_softmax
from tfembed.losses.lifted_structure import LiftedStructure, lifted_structure
from tfembed.losses.marginal import Marginal, marginal
from tfembed.losses.matryoshka import Matryoshka, matryoshka
from tfembed.losses.multi_similarity import MultiSimilarity, multi_similarity
from tfembed.losses.nca import NCA, nca
from tfembed.losses.norm_softmax import NormSoftmax, norm_softmax
from tfembed.losses.npair import NPair, npair
from tfembed.losses.nt_xent import NTXent, nt_xent
from tfembed.losses.p2s_grad import P2SGrad, p2s_grad
from tfembed.losses.pnp import PNP, pnp
from tfembed.losses.proxy_anchor import ProxyAnchor, proxy_anchor
from tfembed.losses.proxy_nca import ProxyNCA, proxy_nca
from tfembed.losses.range_loss import RangeLoss, range_loss
from tfembed.losses.ranked_list import RankedList, ranked_list
from tfembed.losses.smooth_ap import SmoothAP, smooth_ap
from tfembed.losses.snr import SNR, snr
from tfembed.losses.soft_nearest_neighbor import (
    SoftNearestNeighbor,
    soft_nearest_neighbor,
)
from tfembed.losses.soft_triple import SoftTriple, soft_triple
from tfembed.losses.sphereface import SphereFace, sphereface
from tfembed.losses.sup_con import SupCon, sup_con
from tfembed.losses.temperature_softmax import TemperatureSoftmax, temperature_softmax
from tfembed.losses.threshold_consistent_margin import (
    ThresholdConsistentMargin,
    threshold_consistent_margin,
)
from tfembed.losses.triplet import Triplet, triplet
from tfembed.losses.tuplet_margin import TupletMargin, tuplet_margin
from tfembed.losses.vicreg import VICReg, vicreg

__all__ = [
    "AffinityFrobenius",
    "AffinityProjection",
    "Angular",
    "ArcFace",
    "BinomialDeviance",
    "Circle",
    "Contrastive",
    "CosFace",
    "CoupledClusters",
    "FacilityLocation",
    "FastAP",
    "HardNet",
    "Histogram",
    "IntraPairVariance",
    "InvariantSpread",
    "LargeMarginSoftmax",
    "LiftedStructure",
    "Marginal",
    "Matryoshka",
    "MultiSimilarity",
    "NCA",
    "NPair",
    "NTXent",
    "NormSoftmax",
    "P2SGrad",
    "PNP",
    "ProxyAnchor",
    "ProxyNCA",
    "RangeLoss",
    "RankedList",
    "SNR",
    "SmoothAP",
    "SoftNearestNeighbor",
    "SoftTriple",
    "SphereFace",
    "SupCon",
    "TemperatureSoftmax",
    "ThresholdConsistentMargin",
    "Triplet",
    "TupletMargin",
    "VICReg",
    "affinity_frobenius",
    "affinity_projection",
    "angular",
    "arcface",
    "binomial_deviance",
    "circle",
    "contrastive",
    "cosface",
    "coupled_clusters",
    "facility_location",
    "fast_ap",
    "hardnet",
    "histogram",
    "intra_pair_variance",
    "invariant_spread",
    "large_margin_softmax",
    "lifted_structure",
    "marginal",
    "matryoshka",
    "multi_similarity",
    "nca",
    "norm_softmax",
    "npair",
    "nt_xent",
    "p2s_grad",
    "pnp",
    "proxy_anchor",
    "proxy_nca",
    "range_loss",
    "ranked_list",
    "smooth_ap",
    "snr",
    "soft_nearest_neighbor",
    "soft_triple",
    "sphereface",
    "sup_con",
    "temperature_softmax",
    "threshold_consistent_margin",
    "triplet",
    "tuplet_margin",
    "vicreg",
]
