"""Losses: one a file, a pure function and its Keras class."""

from tfembed.losses.binomial_deviance import BinomialDeviance, binomial_deviance
from tfembed.losses.contrastive import Contrastive, contrastive
from tfembed.losses.multi_similarity import MultiSimilarity, multi_similarity
from tfembed.losses.nt_xent import NTXent, nt_xent
from tfembed.losses.sup_con import SupCon, sup_con
from tfembed.losses.triplet import Triplet, triplet

__all__ = [
    "BinomialDeviance",
    "Contrastive",
    "MultiSimilarity",
    "NTXent",
    "SupCon",
    "Triplet",
    "binomial_deviance",
    "contrastive",
    "multi_similarity",
    "nt_xent",
    "sup_con",
    "triplet",
]
