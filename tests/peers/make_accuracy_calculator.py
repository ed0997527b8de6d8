"""Writes what pytorch-metric-learning's AccuracyCalculator says of some embeddings.

    python3 -m venv /tmp/torch
    /tmp/torch/bin/pip install torch==2.13.0 pytorch-metric-learning==2.9.0 \
        faiss-cpu==1.15.1 numpy
    /tmp/torch/bin/python tests/peers/make_accuracy_calculator.py

Not run by the tests: they read the file, `accuracy_calculator.npz` beside this script.
It holds `embeddings`, unit rows, and `labels`, some of classes of one; and, as
`CASE_NAME`, each number of each case:

    itself    all rows among all others
    apart     the first 40 rows among the rest, one of whose classes is not there
    clusters  NMI and AMI of rows so far apart that k-means cannot miss, under
              labels that are not those of the places, `clusters_labels`
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).resolve().with_name("accuracy_calculator.npz")
QUERIES = 40


def arrays():
    """Returns the arrays that are measured."""
    rng = np.random.default_rng(0)
    sizes = [30, 25, 20, 12, 9, 6, 5, 4, 3, 2, 2, 1, 1]
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    labels[0] = 50  # only among the queries
    embeddings = rng.normal(size=(len(labels), 8)) + 0.9 * np.eye(8)[labels % 8]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    place = np.repeat(np.arange(4), 15)
    clusters = np.eye(4)[place] + rng.normal(scale=1e-3, size=(60, 4))
    return {
        "embeddings": embeddings.astype(np.float32),
        "labels": labels,
        "clusters": clusters.astype(np.float32),
        "clusters_labels": np.where(
            rng.random(60) < 0.7, place, rng.integers(0, 4, 60)
        ),
    }


def main():
    """Writes the file."""
    import pytorch_metric_learning
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    given = arrays()
    x, labels, clusters, places = (torch.from_numpy(each) for each in given.values())
    neighbours = AccuracyCalculator(exclude=("NMI", "AMI"), device=torch.device("cpu"))
    partitions = AccuracyCalculator(include=("NMI", "AMI"), device=torch.device("cpu"))
    cases = {
        "itself": neighbours.get_accuracy(x, labels),
        "apart": neighbours.get_accuracy(
            x[:QUERIES], labels[:QUERIES], x[QUERIES:], labels[QUERIES:]
        ),
        "clusters": partitions.get_accuracy(clusters, places),
    }
    for case, found in cases.items():
        print(case, found)
    np.savez_compressed(
        FILE,
        version=np.array(pytorch_metric_learning.__version__),
        **given,
        **{
            f"{case}_{name}": np.float64(value)
            for case, found in cases.items()
            for name, value in found.items()
        },
    )


if __name__ == "__main__":
    main()
