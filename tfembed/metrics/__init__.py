"""How good an embedding is: exact, chunked, in bounded memory."""

from tfembed.metrics.bootstrap import bootstrap_intervals
from tfembed.metrics.bootstrap import check_confidence as check_confidence
from tfembed.metrics.clustering import clustering
from tfembed.metrics.comparison import Comparison, compare
from tfembed.metrics.embed import embed
from tfembed.metrics.linear_probe import linear_probe, linear_probe_hits
from tfembed.metrics.nearest import nearest
from tfembed.metrics.protocols import Measurement, measure_seen, measure_unseen
from tfembed.metrics.retrieval import Retrieval, retrieval
from tfembed.metrics.spread import Spread, spread
from tfembed.metrics.weighted_knn import weighted_knn, weighted_knn_hits

__all__ = [
    "Comparison",
    "Measurement",
    "Retrieval",
    "Spread",
    "bootstrap_intervals",
    "clustering",
    "compare",
    "embed",
    "linear_probe",
    "linear_probe_hits",
    "measure_seen",
    "measure_unseen",
    "nearest",
    "retrieval",
    "spread",
    "weighted_knn",
    "weighted_knn_hits",
]
