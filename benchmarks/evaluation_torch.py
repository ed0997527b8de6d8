"""The other side of `evaluation.py`: pytorch-metric-learning's AccuracyCalculator.

    python benchmarks/evaluation_torch.py FOLDER

Reads the arrays that `evaluation.py` wrote, and prints one line of JSON. Runs in an
environment with PyTorch, pytorch-metric-learning and faiss, without TensorFlow.
"""

import argparse
import json
import time
from pathlib import Path

import measure


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    return parser.parse_args(argv)


def main(argv=None):
    """Times one call."""
    folder = parse(argv).folder
    import numpy as np
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    embeddings, labels, queries = (
        torch.from_numpy(np.load(folder / f"{name}.npy"))
        for name in ("embeddings", "labels", "queries")
    )
    count = int(queries)
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"),
        k="max_bin_count",
        device=torch.device("cpu"),
    )
    start, processors = time.perf_counter(), time.process_time()
    found = calculator.get_accuracy(
        embeddings[:count],
        labels[:count],
        embeddings,
        labels,
        ref_includes_query=True,
    )
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "processors": time.process_time() - processors,
                "peak": measure.peak_mb(),
                "R@1": found["precision_at_1"],
                "MAP@R": found["mean_average_precision_at_r"],
            }
        )
    )


if __name__ == "__main__":
    main()
