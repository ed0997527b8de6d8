"""How good an embedding is: exact, chunked, in bounded memory."""

from tfembed.metrics.clustering import clustering
from tfembed.metrics.embed import embed
from tfembed.metrics.linear_probe import linear_probe
from tfembed.metrics.nearest import nearest
from tfembed.metrics.retrieval import Retrieval, retrieval
from tfembed.metrics.spread import Spread, spread
from tfembed.metrics.weighted_knn import weighted_knn

__all__ = [
    "Retrieval",
    "Spread",
    "clustering",
    "embed",
    "linear_probe",
    "nearest",
    "retrieval",
    "spread",
    "weighted_knn",
]
