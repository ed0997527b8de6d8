"""How well k-means on an embedding recovers its classes."""

from __future__ import annotations

import numpy as np

from tfembed.formats.unit_rows import unit_rows
from tfembed.hints import Label, Labels, Rows
from tfembed.metrics.labels import without_ignored
from tfembed.metrics.nearest import check_embeddings
from tfembed.ops.arguments import as_count, check_choice

AVERAGES = ("geometric", "arithmetic", "min", "max")


def clustering(
    embeddings: Rows,
    labels: Labels,
    average: str = "arithmetic",
    restarts: int = 10,
    seed: int = 0,
    normalize: bool = True,
    ignore_label: Label | None = None,
) -> dict[str, float]:
    """Clusters by k-means into as many clusters as classes; compares the partitions.

    NMI is the mutual information of clusters and classes divided by an average of
    their entropies; AMI is NMI less what chance alone gives. Needs scikit-learn.

    Papers differ in the average: Song et al.'s evaluation is arithmetic, like
    scikit-learn since 0.22; the formula in Song et al., 2017, and scikit-learn before
    it, are geometric.

    >>> from tfembed.metrics import clustering
    >>> embeddings = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> found = clustering(embeddings, ["shoe", "shoe", "bag", "bag"])
    >>> round(found["NMI"], 4), round(found["AMI"], 4)
    (1.0, 1.0)

    Args:
        embeddings: `(rows, dim)`, float.
        labels: `(rows,)`, of any type that NumPy can sort.
        average: `"arithmetic"`, `"geometric"`, `"min"` or `"max"`.
        restarts: How often k-means starts anew; the best start by inertia counts.
        seed: Of its first centres.
        normalize: Whether rows are divided by their lengths first.
        ignore_label: Rows of this label are left out; `None`: none is.

    Returns:
        `{"NMI": float, "AMI": float}`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If shapes do not fit together, or an argument is out of range.
    """
    check_choice(AVERAGES, average=average)
    restarts = as_count("restarts", restarts)
    rows = check_embeddings("embeddings", embeddings)
    _, labels, rows = without_ignored(ignore_label, "labels", labels, embeddings=rows)
    try:
        from sklearn.cluster import KMeans
        from sklearn.metrics import (
            adjusted_mutual_info_score,
            normalized_mutual_info_score,
        )
    except ImportError as error:
        raise ImportError(
            "NMI needs scikit-learn: pip install 'tfembed[report]'."
        ) from error

    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    kmeans = KMeans(len(classes), n_init=restarts, random_state=seed)
    clusters = kmeans.fit_predict(unit_rows(rows) if normalize else rows)
    compared = codes.reshape(-1), clusters
    return {
        "NMI": float(normalized_mutual_info_score(*compared, average_method=average)),
        "AMI": float(adjusted_mutual_info_score(*compared, average_method=average)),
    }
