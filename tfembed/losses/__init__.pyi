"""`tfembed.losses` as type checkers see it: by docs/write_stubs.py."""

from collections.abc import Sequence

from tfembed.hints import Label, Number
from tfembed.losses.affinity_frobenius import affinity_frobenius as affinity_frobenius
from tfembed.losses.affinity_projection import (
    affinity_projection as affinity_projection,
)
from tfembed.losses.angular import angular as angular
from tfembed.losses.arcface import arcface as arcface
from tfembed.losses.base import FunctionalLoss as FunctionalLoss
from tfembed.losses.binomial_deviance import binomial_deviance as binomial_deviance
from tfembed.losses.circle import circle as circle
from tfembed.losses.contrastive import contrastive as contrastive
from tfembed.losses.cosface import cosface as cosface
from tfembed.losses.coupled_clusters import coupled_clusters as coupled_clusters
from tfembed.losses.facility_location import facility_location as facility_location
from tfembed.losses.fast_ap import fast_ap as fast_ap
from tfembed.losses.hardnet import hardnet as hardnet
from tfembed.losses.histogram import histogram as histogram
from tfembed.losses.intra_pair_variance import (
    intra_pair_variance as intra_pair_variance,
)
from tfembed.losses.invariant_spread import invariant_spread as invariant_spread
from tfembed.losses.large_margin_softmax import (
    large_margin_softmax as large_margin_softmax,
)
from tfembed.losses.lifted_structure import lifted_structure as lifted_structure
from tfembed.losses.marginal import marginal as marginal
from tfembed.losses.matryoshka import matryoshka as matryoshka
from tfembed.losses.multi_similarity import multi_similarity as multi_similarity
from tfembed.losses.nca import nca as nca
from tfembed.losses.norm_softmax import norm_softmax as norm_softmax
from tfembed.losses.npair import npair as npair
from tfembed.losses.nt_xent import nt_xent as nt_xent
from tfembed.losses.p2s_grad import p2s_grad as p2s_grad
from tfembed.losses.pnp import pnp as pnp
from tfembed.losses.proxy_anchor import proxy_anchor as proxy_anchor
from tfembed.losses.proxy_nca import proxy_nca as proxy_nca
from tfembed.losses.range_loss import range_loss as range_loss
from tfembed.losses.ranked_list import ranked_list as ranked_list
from tfembed.losses.smooth_ap import smooth_ap as smooth_ap
from tfembed.losses.snr import snr as snr
from tfembed.losses.soft_nearest_neighbor import (
    soft_nearest_neighbor as soft_nearest_neighbor,
)
from tfembed.losses.soft_triple import soft_triple as soft_triple
from tfembed.losses.sphereface import sphereface as sphereface
from tfembed.losses.sup_con import sup_con as sup_con
from tfembed.losses.temperature_softmax import (
    temperature_softmax as temperature_softmax,
)
from tfembed.losses.threshold_consistent_margin import (
    threshold_consistent_margin as threshold_consistent_margin,
)
from tfembed.losses.triplet import triplet as triplet
from tfembed.losses.tuplet_margin import tuplet_margin as tuplet_margin
from tfembed.losses.vicreg import vicreg as vicreg
from tfembed.miners.base import Miner

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

class AffinityFrobenius(FunctionalLoss):
    function = staticmethod(affinity_frobenius)
    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str | None = "affinity_frobenius",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class AffinityProjection(FunctionalLoss):
    function = staticmethod(affinity_projection)
    def __init__(
        self,
        tolerance: Number = 1e-06,
        normalize: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str | None = "affinity_projection",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class Angular(FunctionalLoss):
    function = staticmethod(angular)
    def __init__(
        self,
        alpha: float = 45.0,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "angular",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class ArcFace(FunctionalLoss):
    function = staticmethod(arcface)
    def __init__(
        self,
        scale: Number = 64.0,
        margin: Number = 0.5,
        beyond_pi: str = "shifted",
        per_class: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str | None = "arcface",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class BinomialDeviance(FunctionalLoss):
    function = staticmethod(binomial_deviance)
    def __init__(
        self,
        alpha: Number = 2.0,
        beta: Number = 50.0,
        base: Number = 0.5,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "binomial_deviance",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class Circle(FunctionalLoss):
    function = staticmethod(circle)
    def __init__(
        self,
        margin: Number = 0.4,
        gamma: Number = 80.0,
        stop_gradient_weights: bool = True,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "circle",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class Contrastive(FunctionalLoss):
    function = staticmethod(contrastive)
    def __init__(
        self,
        margin: Number = 1.0,
        form: str = "hadsell",
        normalize: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "contrastive",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class CosFace(FunctionalLoss):
    function = staticmethod(cosface)
    def __init__(
        self,
        scale: Number = 64.0,
        margin: Number = 0.35,
        per_class: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str | None = "cosface",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class CoupledClusters(FunctionalLoss):
    function = staticmethod(coupled_clusters)
    def __init__(
        self,
        margin: Number = 1.0,
        stop_gradient_center: bool = True,
        normalize: bool = False,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "coupled_clusters",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class FacilityLocation(FunctionalLoss):
    function = staticmethod(facility_location)
    def __init__(
        self,
        gamma: Number = 1.0,
        search: str = "pam",
        nmi_average: str = "geometric",
        normalize: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str | None = "facility_location",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class FastAP(FunctionalLoss):
    function = staticmethod(fast_ap)
    def __init__(
        self,
        bins: int = 10,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "fast_ap",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class HardNet(FunctionalLoss):
    function = staticmethod(hardnet)
    def __init__(
        self,
        margin: Number = 1.0,
        normalize: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "hardnet",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class Histogram(FunctionalLoss):
    function = staticmethod(histogram)
    def __init__(
        self,
        bins: int = 100,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "histogram",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class IntraPairVariance(FunctionalLoss):
    function = staticmethod(intra_pair_variance)
    def __init__(
        self,
        positive_epsilon: Number = 0.01,
        negative_epsilon: Number = 0.01,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "intra_pair_variance",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class InvariantSpread(FunctionalLoss):
    function = staticmethod(invariant_spread)
    def __init__(
        self,
        temperature: Number = 0.1,
        form: str = "code",
        negative_weight: Number = 1.0,
        negative_share: Number = 1.0,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "invariant_spread",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class LargeMarginSoftmax(FunctionalLoss):
    function = staticmethod(large_margin_softmax)
    def __init__(
        self,
        margin: int = 4,
        annealing: Number = 0.0,
        scale: Number = 1.0,
        per_class: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str | None = "large_margin_softmax",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class LiftedStructure(FunctionalLoss):
    function = staticmethod(lifted_structure)
    def __init__(
        self,
        margin: Number = 1.0,
        smooth: bool = True,
        normalize: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "lifted_structure",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class Marginal(FunctionalLoss):
    function = staticmethod(marginal)
    def __init__(
        self,
        threshold: Number = 1.2,
        margin: Number = 0.3,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "marginal",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class Matryoshka(FunctionalLoss):
    function = staticmethod(matryoshka)
    def __init__(
        self,
        loss: FunctionalLoss,
        dims: Sequence[int],
        weights: Sequence[Number] | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "matryoshka",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class MultiSimilarity(FunctionalLoss):
    function = staticmethod(multi_similarity)
    def __init__(
        self,
        alpha: Number = 2.0,
        beta: Number = 50.0,
        base: Number = 0.5,
        epsilon: float | None = 0.1,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "multi_similarity",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class NCA(FunctionalLoss):
    function = staticmethod(nca)
    def __init__(
        self,
        temperature: Number = 1.0,
        form: str = "log",
        normalize: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "nca",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class NPair(FunctionalLoss):
    function = staticmethod(npair)
    def __init__(
        self,
        l2: Number = 0.001,
        form: str = "paper",
        normalize: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "npair",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class NTXent(FunctionalLoss):
    function = staticmethod(nt_xent)
    def __init__(
        self,
        temperature: Number = 0.1,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "nt_xent",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class NormSoftmax(FunctionalLoss):
    function = staticmethod(norm_softmax)
    def __init__(
        self,
        temperature: Number = 0.05,
        per_class: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str | None = "norm_softmax",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class P2SGrad(FunctionalLoss):
    function = staticmethod(p2s_grad)
    def __init__(
        self,
        per_class: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str | None = "p2s_grad",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class PNP(FunctionalLoss):
    function = staticmethod(pnp)
    def __init__(
        self,
        form: str = "O",
        temperature: Number = 0.01,
        alpha: Number = 1.0,
        b: Number = 2.0,
        include_anchor: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "pnp",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class ProxyAnchor(FunctionalLoss):
    function = staticmethod(proxy_anchor)
    def __init__(
        self,
        margin: Number = 0.1,
        alpha: Number = 32.0,
        per_class: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str | None = "proxy_anchor",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class ProxyNCA(FunctionalLoss):
    function = staticmethod(proxy_nca)
    def __init__(
        self,
        scale: Number = 18.0,
        positive_in_denominator: bool = False,
        label_smoothing: Number = 0.0,
        margin: Number = 0.0,
        per_class: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str | None = "proxy_nca",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class RangeLoss(FunctionalLoss):
    function = staticmethod(range_loss)
    def __init__(
        self,
        alpha: Number = 1.0,
        beta: Number = 1.0,
        margin: Number = 1.0,
        k: int = 2,
        squared: bool = False,
        normalize: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str | None = "range_loss",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class RankedList(FunctionalLoss):
    function = staticmethod(ranked_list)
    def __init__(
        self,
        alpha: Number = 1.2,
        margin: Number = 0.4,
        positive_temperature: Number = 0.0,
        negative_temperature: Number = 10.0,
        balance: Number = 0.5,
        stop_gradient_weights: bool = True,
        normalize: bool = True,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "ranked_list",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class SNR(FunctionalLoss):
    function = staticmethod(snr)
    def __init__(
        self,
        margin: Number = 1.0,
        positive_margin: Number = 0.0,
        zero_mean: Number = 0.0,
        normalize: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "snr",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class SmoothAP(FunctionalLoss):
    function = staticmethod(smooth_ap)
    def __init__(
        self,
        temperature: Number = 0.01,
        include_anchor: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "smooth_ap",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class SoftNearestNeighbor(FunctionalLoss):
    function = staticmethod(soft_nearest_neighbor)
    def __init__(
        self,
        temperature: Number = 1.0,
        distance: str = "squared_euclidean",
        normalize: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "soft_nearest_neighbor",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class SoftTriple(FunctionalLoss):
    function = staticmethod(soft_triple)
    def __init__(
        self,
        per_class: int = 10,
        scale: Number = 20.0,
        gamma: Number = 0.1,
        margin: Number = 0.01,
        reduction: str = "sum_over_batch_size",
        name: str | None = "soft_triple",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class SphereFace(FunctionalLoss):
    function = staticmethod(sphereface)
    def __init__(
        self,
        scale: Number = 30.0,
        margin: int = 4,
        annealing: Number = 0.0,
        per_class: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str | None = "sphereface",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class SupCon(FunctionalLoss):
    function = staticmethod(sup_con)
    def __init__(
        self,
        temperature: Number = 0.1,
        form: str = "out",
        base_temperature: Number | None = None,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "sup_con",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class TemperatureSoftmax(FunctionalLoss):
    function = staticmethod(temperature_softmax)
    def __init__(
        self,
        temperature: Number = 1.0,
        targets: str = "probabilities",
        per_class: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str | None = "temperature_softmax",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class ThresholdConsistentMargin(FunctionalLoss):
    function = staticmethod(threshold_consistent_margin)
    def __init__(
        self,
        positive_margin: Number = 0.9,
        negative_margin: Number = 0.5,
        positive_weight: Number = 1.0,
        negative_weight: Number = 1.0,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "threshold_consistent_margin",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class Triplet(FunctionalLoss):
    function = staticmethod(triplet)
    def __init__(
        self,
        margin: Number = 0.2,
        distance: str = "squared_euclidean",
        mining: str = "semi_hard",
        soft: bool = False,
        normalize: bool = False,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "triplet",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class TupletMargin(FunctionalLoss):
    function = staticmethod(tuplet_margin)
    def __init__(
        self,
        margin: Number = 0.1,
        scale: Number = 64.0,
        miner: Miner | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "tuplet_margin",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...

class VICReg(FunctionalLoss):
    function = staticmethod(vicreg)
    def __init__(
        self,
        invariance: Number = 25.0,
        variance: Number = 25.0,
        covariance: Number = 1.0,
        target: Number = 1.0,
        epsilon: Number = 0.0001,
        reduction: str = "sum_over_batch_size",
        name: str | None = "vicreg",
        *,
        ignore_label: Label | None = None,
    ) -> None: ...
