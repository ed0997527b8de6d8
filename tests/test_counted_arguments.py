"""Whoever counts refuses what is no integer, in the same words."""

import numpy as np
import pytest
from tensorflow import keras

from tfembed.callbacks import CollapseWatchdog, RetrievalQuality
from tfembed.data import load_images
from tfembed.dedup import dedup_source
from tfembed.embed import embed_source
from tfembed.export import check_options, prune_versions
from tfembed.metrics import (
    bootstrap_intervals,
    clustering,
    nearest,
    retrieval,
    weighted_knn,
)
from tfembed.serving import AsyncClient, Client

ROWS = np.eye(4, dtype=np.float32)
LABELS = np.array([0, 0, 1, 1])
ADDRESS = "http://localhost:1"


def _split():
    return load_images("synthetic", limit=8).train


def _watch(every):
    return CollapseWatchdog(keras.Sequential(), np.zeros((2, 4, 4, 1)), every=every)


COUNTED = {
    "AsyncClient-batch_size": lambda n: AsyncClient(ADDRESS, batch_size=n),
    "AsyncClient-concurrency": lambda n: AsyncClient(ADDRESS, concurrency=n),
    "Client-batch_size": lambda n: Client(ADDRESS, batch_size=n),
    "Client-retries": lambda n: Client(ADDRESS, retries=n),
    "Client-version": lambda n: Client(ADDRESS, version=n),
    "CollapseWatchdog-every": _watch,
    "RetrievalQuality-every": lambda n: RetrievalQuality(None, [], LABELS, every=n),
    "batches-batch_size": lambda n: _split().batches(n),
    "bootstrap_intervals-resamples": lambda n: bootstrap_intervals(
        {"a": LABELS}, resamples=n
    ),
    "check_options-k": lambda n: check_options(k=n),
    "check_options-max_pixels": lambda n: check_options(max_pixels=n),
    "check_options-vote_k": lambda n: check_options(vote_k=n),
    "check_options-warmup_batches": lambda n: check_options(warmup_batches=[n]),
    "clustering-restarts": lambda n: clustering(ROWS, LABELS, restarts=n),
    "dedup_source-groups_on_page": lambda n: dedup_source("x", "y", groups_on_page=n),
    "embed_source-batch_size": lambda n: embed_source("x", "y", "z", batch_size=n),
    "embed_source-limit": lambda n: embed_source("x", "y", "z", limit=n),
    "embed_source-shard_size": lambda n: embed_source("x", "y", "z", shard_size=n),
    "epochs-lanes": lambda n: _split().epochs(4, 0, 0, 1, lanes=n),
    "epochs-views": lambda n: _split().epochs(4, 0, 0, 1, views=n),
    "load_images-image_size": lambda n: load_images("synthetic", image_size=(4, n)),
    "load_images-limit": lambda n: load_images("synthetic", limit=n),
    "load_images-test_limit": lambda n: load_images("synthetic", test_limit=n),
    "nearest-k": lambda n: nearest(ROWS, ROWS, n),
    "prune_versions-keep": lambda n: prune_versions("nowhere", n),
    "retrieval-ks": lambda n: retrieval(ROWS, LABELS, ks=(n,)),
    "search-k": lambda n: Client(ADDRESS).search(b"", n),
    "search-per_label": lambda n: Client(ADDRESS).search(b"", per_label=n),
    "weighted_knn-k": lambda n: weighted_knn(ROWS, ROWS, LABELS, [n]),
}
WRONG = ["3", b"3", True, np.True_, 2.0, 2.5, float("nan"), [2], np.array([2]), -1]


@pytest.mark.parametrize("count", COUNTED)
def test_counts_are_integers(count):
    name = count.partition("-")[2]
    for wrong in WRONG:
        with pytest.raises(ValueError) as caught:
            COUNTED[count](wrong)
        said = str(caught.value)
        assert said.startswith(f"`{name}` must be a"), said
        assert "integer" in said and f"Received: {name}={wrong!r}" in said, said
