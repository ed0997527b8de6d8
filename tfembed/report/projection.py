"""Two dimensions for the map."""

import numpy as np

from tfembed.formats.unit_rows import unit_rows

METHODS = {"pca": "PCA", "tsne": "t-SNE"}


def project(embeddings, method, seed=0):
    """Puts embeddings on a plane, in [0, 1] both ways.

    Args:
        embeddings: `(n, d)`; the direction counts, the length does not.
        method: `"pca"`: the two directions of largest variance. `"tsne"`: keeps
            neighbours together; distances between groups mean little.
        seed: Of t-SNE.

    Returns:
        float64 `(n, 2)`.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    rows = unit_rows(np.float32(embeddings))
    size, dim = rows.shape
    if np.ptp(rows, axis=0).max(initial=0) == 0:
        return np.full((size, 2), 0.5)
    if method == "tsne" and size > 3:
        neighbors = min(30.0, (size - 1) / 3)
        points = TSNE(perplexity=neighbors, init="pca", random_state=seed)
        if min(size, dim) < 2:
            points = TSNE(perplexity=neighbors, init="random", random_state=seed)
        with threadpool_limits(1):  # threads that wait for each other take longer
            points = points.fit_transform(rows)
    else:
        count = min(2, size, dim)
        points = PCA(count, svd_solver="full").fit_transform(rows)
        points = np.pad(points, ((0, 0), (0, 2 - count)))
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.maximum(high - low, 1e-12)
    return np.where(high - low > 1e-12, (points - low) / span, 0.5)
