"""A user's code, as mypy checks it strictly: what is right, and what is wrong.

Where a use is wrong, the comment says which error it has to be: mypy complains of a
comment that hides none. Nothing here is run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow import keras

from tfembed.backbones import build_backbone, open_encoder
from tfembed.callbacks import CollapseWatchdog, KeepBest, TemperatureSchedule
from tfembed.data import FastAugmentation, load_images, read_embeddings
from tfembed.embed import embed_source
from tfembed.evaluate import evaluate, find_subject
from tfembed.export import export, read_card, rollback
from tfembed.layers import CrossBatch, InstanceSoftmax, MemoryBank, Proxies, UnitNorm
from tfembed.losses import (
    ArcFace,
    Circle,
    Contrastive,
    FunctionalLoss,
    Matryoshka,
    MultiSimilarity,
    NTXent,
    circle,
)
from tfembed.metrics import Measurement, measure_seen, nearest, retrieval, weighted_knn
from tfembed.miners import HardMiner, TopKMiner
from tfembed.publish import publish
from tfembed.training import PositiveSets, build_optimizer
from tfembed.weighting import MultiSimilarityWeights, PairWeighted, pair_weights

Table = npt.NDArray[np.float32]


def train(images: Table, labels: Table) -> keras.Model:
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, UnitNorm()(keras.layers.Dense(64)(features)))
    loss = Contrastive(miner=TopKMiner(negatives=5, ignore_label=-1))
    model.compile(build_optimizer("adam", 1e-3), loss=loss)
    callbacks = [
        CollapseWatchdog(model, images[:100]),
        KeepBest("best", model, monitor="val_loss", mode="min"),
        TemperatureSchedule(NTXent(), {0: 0.5, 10: 0.1}),
    ]
    model.fit(images, labels, callbacks=callbacks)
    return model


def losses() -> list[FunctionalLoss]:
    return [
        MultiSimilarity(alpha=2.0, epsilon=None, ignore_label=-1),
        Circle(margin=tf.Variable(0.25), reduction="sum", name="mine"),
        Circle(np.float32(0.25), 64),
        ArcFace(scale=30, per_class=2),
        Contrastive(miner=HardMiner(ignore_label="none")),
        Matryoshka(NTXent(temperature=0.1), dims=[8, 16], ignore_label=-1),
        PairWeighted(MultiSimilarityWeights(), row_chunk=64),
    ]


def values(embeddings: tf.Tensor) -> tf.Tensor:
    labels = ["a", "b"]
    first = circle([0, 1], [[1.0, 0.0], [0.0, 1.0]], gamma=10.0)
    second = Circle().per_row(labels, embeddings)
    return first + second + pair_weights(Circle(), labels, embeddings)


def layers() -> None:
    InstanceSoftmax(size=50_000, temperature=0.1, seed=0, dtype="float32")
    CrossBatch(MultiSimilarity(), size=1024)
    Proxies(10, regularizer=keras.regularizers.L2(1e-4))
    MemoryBank(100, 64).write([[0.0] * 64], [3])


def measure(rows: Table, labels: list[str]) -> dict[str, float]:
    found: Measurement = measure_seen(rows, labels, rows, labels, ks=(1, 10))
    low, high = found.intervals["R@1"]
    scores, places = nearest(rows, rows, k=5)
    votes: npt.NDArray[np.str_] = weighted_knn(rows, rows, labels, k=20)
    several: dict[int, npt.NDArray[np.str_]] = weighted_knn(
        rows, rows, labels, k=[1, 20]
    )
    assert low <= high and scores.shape == places.shape
    assert votes.shape == several[1].shape
    return {**found.values, **retrieval(rows, labels).means()}


def sets() -> float:
    grown = PositiveSets.alone(10).with_pairs([0, 1], [2, 3])
    return grown.mean_others


def serve(model: keras.Model, base: Path) -> Path:
    images = load_images("folder:photos", image_size=(64, 64), split="unseen")
    batches = images.train.epochs(32, 0, 0, 1, FastAugmentation(images.image_shape))
    model.fit(batches)
    encoder = open_encoder("keras_cv:resnet18", "none", image_size=64)
    embedded = embed_source(encoder, "folder:photos", base / "embeddings")
    rows = read_embeddings(base / "embeddings").load()
    gallery = {"embeddings": rows.embeddings, "labels": rows.labels, "ids": rows.ids}
    version = export(model, gallery, base, k=20, head="ivf", report=None)
    print(len(embedded), read_card(version)["k"])
    print(evaluate(find_subject("runs/first"), ks=(1, 5)).values["R@1"])
    publish("runs/first", base, "folder:photos", head="exact")
    return rollback(base, to=1)


def wrong(rows: Table, model: keras.Model) -> None:
    MultiSimilarity(alpha="two")  # type: ignore[arg-type]
    MultiSimilarity(row_chunk=1.5)  # type: ignore[arg-type]
    MultiSimilarity(gamma=1.0)  # type: ignore[call-arg]
    Circle(miner="hard")  # type: ignore[arg-type]
    Circle(ignore_label=[1])  # type: ignore[arg-type]
    Matryoshka("nt_xent", dims=[8])  # type: ignore[arg-type]
    circle([0], "rows")  # type: ignore[arg-type]
    TopKMiner(negatives="all")  # type: ignore[arg-type]
    CrossBatch("circle", 10)  # type: ignore[arg-type]
    InstanceSoftmax("many")  # type: ignore[arg-type]
    UnitNorm(epsilon="small")  # type: ignore[arg-type]
    KeepBest("best", model)  # type: ignore[call-arg]
    nearest(rows, rows, k="ten")  # type: ignore[arg-type]
    measure_seen(rows, [0], rows, [0], knn=5)  # type: ignore[arg-type]
    print(measure_seen(rows, [0], rows, [0]).recall)  # type: ignore[attr-defined]
    weighted_knn(rows, rows, [0], k="ten")  # type: ignore[arg-type]
    retrieval(rows, [0], cosine=True)  # type: ignore[call-arg]
    build_optimizer("sgd", 0.1, momentum="much")  # type: ignore[arg-type]
    evaluate(find_subject("runs/first"), ks="ten")  # type: ignore[arg-type]
    evaluate("runs/first")  # type: ignore[arg-type]
    build_backbone("small_conv", image_shape=32)  # type: ignore[arg-type]
    load_images("mnist", limit="all")  # type: ignore[arg-type]
    export(model, "gallery.npz", "served", k="ten")  # type: ignore[arg-type]
    rollback("served", to="before")  # type: ignore[arg-type]
