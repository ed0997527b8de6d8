"""One sample of each public loss, layer and metric, for the contract tests."""

import importlib
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import layers, losses, metrics

SIZE, DIM = 24, 5

# Every module of tests/losses/samples has SAMPLES: {class: [Sample, ...]}.
LOSSES = {
    loss: samples
    for file in sorted((pathlib.Path(__file__).parent / "losses/samples").glob("*.py"))
    for loss, samples in importlib.import_module(
        f"losses.samples.{file.stem}"
    ).SAMPLES.items()
}


def with_positives(**options):
    """Makes an `InstanceSimilarity` whose sets are there once it is built."""
    layer = layers.InstanceSimilarity(SIZE, temperature=0.2, seed=3, **options)
    build = layer.build

    def build_with_sets(shape):
        build(shape)
        pairs = sorted(
            {(i, (i * k) % SIZE) for i in range(0, SIZE, 2) for k in (5, 7, 11)}
        )
        offsets = np.searchsorted([i for i, _ in pairs], np.arange(SIZE + 1))
        layer.set_positives(offsets, [j for _, j in pairs])

    layer.build = build_with_sets
    return layer


# Layers that map a tensor, and layers that take [embeddings, ids].
PLAIN_LAYERS = {
    layers.Mahalanobis: [lambda: layers.Mahalanobis(), lambda: layers.Mahalanobis(DIM)],
    layers.Proxies: [
        lambda: layers.Proxies(DIM),
        lambda: layers.Proxies(1, DIM, similarity="negative_squared_distance"),
    ],
    layers.UnitNorm: [lambda: layers.UnitNorm()],
}
# Layers that map a feature map, [batch, 3, 4, DIM].
MAP_LAYERS = {
    layers.GeneralizedMean: [
        lambda: layers.GeneralizedMean(),
        lambda: layers.GeneralizedMean(power=1.5, floor=1e-3),
    ]
}
BANKS = {layers.MemoryBank: [lambda: layers.MemoryBank(SIZE, DIM, seed=3)]}
ENDPOINTS = {
    layers.InstanceSoftmax: [
        lambda: layers.InstanceSoftmax(SIZE, temperature=0.2, seed=3),
        lambda: layers.InstanceSoftmax(
            SIZE, temperature=0.1, momentum=0.0, proximal=2.0, initializer="paper"
        ),
    ],
    layers.InstanceSimilarity: [lambda: with_positives(width=3)],
    layers.NoiseContrastive: [
        lambda: layers.NoiseContrastive(SIZE, 7, temperature=0.2, seed=3),
        lambda: layers.NoiseContrastive(
            SIZE, 7, temperature=0.2, seed=3, negatives="per_anchor", proximal=1.0
        ),
        lambda: layers.NoiseContrastive(
            SIZE, 7, temperature=0.2, seed=3, normalizer="first_batch"
        ),
        lambda: layers.NoiseContrastive(
            SIZE, 7, temperature=0.2, seed=3, normalizer="analytic"
        ),
        lambda: layers.NoiseContrastive(
            SIZE, 7, temperature=0.2, seed=3, normalizer=30.0
        ),
        lambda: layers.NoiseContrastive(
            SIZE, 7, temperature=0.2, seed=3, objective="infonce"
        ),
        lambda: layers.NoiseContrastive(
            SIZE,
            7,
            temperature=0.2,
            seed=3,
            objective="infonce",
            negatives="per_anchor",
        ),
    ],
    layers.Centers: [
        lambda: layers.Centers(SIZE, weight=0.5, initializer="glorot_uniform"),
        lambda: layers.Centers(SIZE, weight=0.5, update="gradient"),
    ],
    layers.Margin: [
        lambda: layers.Margin(SIZE, beta=0.8, beta_weight=0.1, normalize=True),
        lambda: layers.Margin(SIZE, mean="active", row_chunk=4),
    ],
    layers.ProxySoftmax: [
        lambda: layers.ProxySoftmax(SIZE),
        lambda: layers.ProxySoftmax(SIZE, "cosface", temperature=0.1),
        lambda: layers.ProxySoftmax(SIZE, "arcface", temperature=0.1),
    ],
    layers.ParametricInstanceSoftmax: [
        lambda: layers.ParametricInstanceSoftmax(SIZE, temperature=0.5)
    ],
}
# Layers that take [embeddings, labels].
LABEL_ENDPOINTS = {
    layers.CrossBatch: [
        lambda: layers.CrossBatch(losses.MultiSimilarity(), 16),
        lambda: layers.CrossBatch(
            losses.Contrastive(0.5, form="cosine"),
            16,
            warmup_steps=2,
            batch_gradient=True,
        ),
    ],
    layers.DynamicSoftMargin: [
        lambda: layers.DynamicSoftMargin(20, momentum=0.1),
        lambda: layers.DynamicSoftMargin(10, row_chunk=4),
    ],
    layers.FeatureQueue: [
        lambda: layers.FeatureQueue(SIZE, DIM),
        lambda: layers.FeatureQueue(SIZE, DIM, warmup_steps=3),
    ],
}
LAYERS = {**PLAIN_LAYERS, **MAP_LAYERS, **BANKS, **ENDPOINTS, **LABEL_ENDPOINTS}


def _points():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 40)
    return rng.normal(size=(40, DIM)) + 2 * np.eye(DIM)[labels], labels


METRICS = {
    metrics.embed: lambda: metrics.embed(
        keras.Sequential([layers.UnitNorm()]), [np.float32(_points()[0])]
    ),
    metrics.weighted_knn: lambda: metrics.weighted_knn(
        _points()[0], _points()[0], _points()[1], k=5
    ),
    metrics.nearest: lambda: metrics.nearest(_points()[0], _points()[0], 5)[0],
    metrics.retrieval: lambda: list(metrics.retrieval(*_points()).means().values()),
    metrics.clustering: lambda: list(metrics.clustering(*_points()).values()),
    metrics.spread: lambda: metrics.spread(_points()[0]).spectrum,
    metrics.bootstrap_intervals: lambda: list(
        metrics.bootstrap_intervals({"x": _points()[0][:, 0]}, resamples=50)["x"]
    ),
    metrics.compare: lambda: [
        metrics.compare({"x": _points()[0][:, 0]}, {"x": _points()[0][:, 1]})[
            "x"
        ].difference
    ],
    metrics.measure_seen: lambda: list(
        metrics.measure_seen(
            *_points(), *_points(), knn=(5,), resamples=50
        ).values.values()
    ),
    metrics.measure_unseen: lambda: list(
        metrics.measure_unseen(*_points(), resamples=50).values.values()
    ),
    metrics.linear_probe_hits: lambda: metrics.linear_probe_hits(
        *_points(), *_points()
    ),
    metrics.weighted_knn_hits: lambda: metrics.weighted_knn_hits(
        *_points(), *_points(), ks=(5,)
    )[5],
    metrics.linear_probe: lambda: metrics.linear_probe(*_points(), *_points()),
}


def endpoint_samples():
    """Returns `(name, maker)` of every endpoint layer."""
    return [
        (f"{layer.__name__}-{number}", maker)
        for layer, makers in ENDPOINTS.items()
        for number, maker in enumerate(makers)
    ]


def frame_samples():
    """`endpoint_samples` as parameters of tests of what the layers have in common.

    Further settings of a layer are tested slowly.
    """
    return [
        pytest.param(
            maker,
            id=name,
            marks=[] if name.endswith("-0") else [pytest.mark.slow],
        )
        for name, maker in endpoint_samples()
    ]


def batch(rows=9, seed=0, unit=True):
    """Returns unit embeddings `(rows, DIM)` and ids, both ends and one twice."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(rows, DIM)).astype("float32")
    if unit:
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    ids = rng.permutation(SIZE)[:rows].astype("int64")
    ids[:3] = [0, SIZE - 1, 0]
    return embeddings, ids


def built(maker):
    """Makes an endpoint layer and builds it."""
    layer = maker()
    layer.build([tf.TensorShape([None, DIM]), tf.TensorShape([None])])
    return layer
