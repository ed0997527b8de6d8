"""Our metrics beside pytorch-metric-learning's AccuracyCalculator, once recorded.

`make_accuracy_calculator.py` writes the file.
"""

from pathlib import Path

import numpy as np
import pytest

from tfembed.metrics import clustering, retrieval

FILE = Path(__file__).resolve().with_name("accuracy_calculator.npz")
NAMES = {
    "R@1": "precision_at_1",
    "R-precision": "r_precision",
    "MAP@R": "mean_average_precision_at_r",
    "MRR": "mean_reciprocal_rank",
}


@pytest.fixture(scope="module")
def recorded():
    with np.load(FILE) as file:
        return dict(file)


@pytest.mark.parametrize("case", ["itself", "apart"])
def test_neighbours(recorded, case):
    """The same numbers; queries of classes of one are in no mean of either."""
    x, labels = recorded["embeddings"], recorded["labels"]
    if case == "itself":
        found = retrieval(x, labels, ks=(1,))
    else:
        found = retrieval(x[:40], labels[:40], x[40:], labels[40:], ks=(1,))
    assert found.lone > 0
    for ours, theirs in NAMES.items():
        expected = recorded[f"{case}_{theirs}"]
        assert found.means()[ours] == pytest.approx(expected, rel=1e-6), ours


def test_clusters(recorded):
    """Its NMI is scikit-learn's, arithmetic, as ours by default."""
    found = clustering(recorded["clusters"], recorded["clusters_labels"])
    for name in ("NMI", "AMI"):
        expected = recorded[f"clusters_{name}"]
        assert 0.1 < expected < 0.9
        assert found[name] == pytest.approx(expected, rel=1e-6)
