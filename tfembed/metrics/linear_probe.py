"""How well a linear classifier reads the classes off given features."""

from __future__ import annotations

import numpy as np

from tfembed.hints import Label, Labels, Rows
from tfembed.metrics.labels import without_ignored
from tfembed.metrics.nearest import check_embeddings


def linear_probe(
    features: Rows,
    labels: Labels,
    test_features: Rows,
    test_labels: Labels,
    regularization: float = 1.0,
    iterations: int = 200,
    ignore_label: Label | None = None,
) -> float:
    """Trains a linear classifier on given features and tests it.

    Features are standardised, then a multinomial logistic regression is fitted by
    scikit-learn (L-BFGS).

    >>> from tfembed.metrics import linear_probe
    >>> features = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.1]])
    >>> labels = ["bag", "bag", "shoe", "shoe"]
    >>> float(linear_probe(features, labels, [[0.2, 0.8], [0.8, 0.2]], ["bag", "shoe"]))
    1.0

    Args:
        features: `(size, dim)`, float, to train on.
        labels: `(size,)`.
        test_features: `(queries, dim)`.
        test_labels: `(queries,)`.
        regularization: scikit-learn's C, the inverse strength.
        iterations: Bound on L-BFGS' iterations.
        ignore_label: Rows of this label are left out of both sides; `None`: none is.

    Returns:
        Accuracy on the test features, from 0 to 1.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If there are no features, to train or to test on, or labels are
            one-hot rows or not one for each row.
    """
    hits = linear_probe_hits(
        features,
        labels,
        test_features,
        test_labels,
        regularization,
        iterations,
        ignore_label,
    )
    return float(np.mean(hits))


def linear_probe_hits(
    features: Rows,
    labels: Labels,
    test_features: Rows,
    test_labels: Labels,
    regularization: float = 1.0,
    iterations: int = 200,
    ignore_label: Label | None = None,
) -> np.ndarray:
    """As `linear_probe`, query by query: whether it is right, bool `(queries,)`.

    With `ignore_label`, of the queries that remain.

    >>> from tfembed.metrics import linear_probe_hits
    >>> features = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.1]])
    >>> tests = [[0.2, 0.8], [0.8, 0.2]]
    >>> linear_probe_hits(features, [0, 0, 1, 1], tests, [0, 0]).tolist()
    [True, False]
    """
    import warnings

    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ImportError(
            "The linear probe needs scikit-learn: pip install 'tfembed[report]'."
        ) from error

    features = check_embeddings("features", features)
    test_features = check_embeddings("test_features", test_features)
    _, labels, features = without_ignored(
        ignore_label, "labels", labels, features=features
    )
    _, test_labels, test_features = without_ignored(
        ignore_label, "test_labels", test_labels, test_features=test_features
    )
    classifier = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=regularization, max_iter=iterations),
    )
    with warnings.catch_warnings():
        # Stopping early is part of the probe's definition.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(np.asarray(features, np.float64), labels)
    predicted = classifier.predict(np.asarray(test_features, np.float64))
    return predicted == test_labels
