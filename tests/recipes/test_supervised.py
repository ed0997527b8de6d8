"""The supervised recipe: every loss by name, proxies, queue, schedule, refusals."""

import dataclasses
import inspect

import numpy as np
import pytest
import tensorflow as tf
from small_runs import run_quietly
from tensorflow import keras

from tfembed import compat, layers, losses
from tfembed.losses.base import FunctionalLoss
from tfembed.recipes import supervised
from tfembed.recipes.objectives import (
    LOSSES,
    MINERS,
    PAIR,
    TWO_ROWS,
    build_objective,
    check_options,
    find_loss,
    read_options,
    read_schedule,
)

SMALL = {
    "dataset": "synthetic",
    "limit": 96,
    "test_limit": 40,
    "image_size": 16,
    "epochs": 2,
    "batch_size": 16,
    "samples_per_class": 4,
    "dim": 8,
}


def test_every_public_loss_has_a_name():
    classes = {
        name
        for name, each in vars(losses).items()
        if inspect.isclass(each) and issubclass(each, FunctionalLoss)
    }
    named = {name for _, name in LOSSES.values()}
    # The class that all of them are, and what wraps one, a setting.
    assert classes - named == {"FunctionalLoss", "Matryoshka"}
    assert named - classes == {
        "Centers",
        "DynamicSoftMargin",
        "Margin",
        "ProxySoftmax",
    }


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_an_embedding(name):
    """One step by each: the embedding's weights move, and stay finite."""
    pairs = name in TWO_ROWS
    config = supervised.Config(
        loss=name, samples_per_class=2 if pairs else 4, batch_size=8
    )
    features = keras.Input((6,), name="images")
    embeddings = keras.layers.Dense(
        4, kernel_initializer=keras.initializers.GlorotUniform(seed=0)
    )(features)
    dense = keras.Model(features, embeddings)
    labels = keras.Input((), dtype="int64", name="labels")
    objective = build_objective(config, embeddings, labels, 4)
    inputs = [features, labels] if objective.labelled else features
    model = keras.Model(inputs, objective.outputs)
    y = np.repeat(np.arange(4 if pairs else 2), 2 if pairs else 4)
    x = tf.constant(np.random.default_rng(0).normal(size=(8, 6)), tf.float32)
    before = dense.get_weights()[0]
    with tf.GradientTape() as tape:
        output = model([x, tf.constant(y)] if objective.labelled else x, training=True)
        total = tf.add_n(model.losses) if model.losses else 0.0
        if objective.loss is not None:
            total += tf.cast(objective.loss(y, output), tf.float32)
    gradient = tape.gradient(total, dense.trainable_variables[0])
    assert np.isfinite(float(total)) and np.all(np.isfinite(gradient))
    assert np.abs(gradient).max() > 0 and before.shape == gradient.shape


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with everything on: proxies of a rate of their own, and a schedule."""
    run_dir = tmp_path_factory.mktemp("runs") / "proxies"
    result = run_quietly(
        supervised,
        run_dir,
        SMALL,
        loss="proxy_nca",
        proxy_rate=100.0,
        temperature_schedule="0:16,1:32",
    )
    return run_dir, result


def test_a_run_by_proxies_on_unseen_classes(finished):
    run_dir, result = finished
    assert result["protocol"] == "unseen"
    header, *rows = (run_dir / "log.csv").read_text().split()
    assert len(rows) == 2
    scales = [float(row.split(",")[header.split(",").index("scale")]) for row in rows]
    assert scales == [16, 32]
    assert "R@1" in header.split(",")


@pytest.mark.slow
def test_seen_classes_with_a_queue_and_center_loss(tmp_path):
    more = {"split": "seen", "epochs": 1, "linear_probe": False}
    queue = run_quietly(
        supervised,
        tmp_path / "queue",
        SMALL,
        loss="contrastive",
        cross_batch=32,
        **more,
    )
    center = run_quietly(supervised, tmp_path / "center", SMALL, loss="center", **more)
    for result in (queue, center):
        assert result["protocol"] == "seen"
        assert result["table"][-1]["knn_10"] > 0.2
    with np.load(tmp_path / "queue" / "queries.npz") as queries:
        assert len(queries["embeddings"]) == SMALL["test_limit"]


def test_a_rate_multiplies_an_update():
    """Adam's update does not follow the gradient's size; a rate of its own does."""
    from tfembed.training import build_optimizer

    changes = []
    for rates in (None, {"proxies": 10.0}):
        x = tf.ones([4, 3])
        features = keras.Input((3,))
        dense = keras.layers.Dense(2, kernel_initializer="ones", name="dense")(features)
        out = layers.Proxies(3, initializer="ones", name="proxies")(dense)
        model = keras.Model(features, out)
        optimizer = build_optimizer("adam", 0.01, rates=rates)
        compat.build_optimizer(optimizer, model.trainable_variables)
        model.compile(optimizer, loss="mse")
        before = model.get_weights()
        model.train_on_batch(x, tf.constant([[3.0, 2.0, 1.0]] * 4) * tf.range(1.0, 4.0))
        changes.append([b - a for a, b in zip(before, model.get_weights())])
    plain, rated = changes
    np.testing.assert_allclose(rated[0], plain[0], rtol=1e-5)
    np.testing.assert_allclose(rated[-1], 10 * plain[-1], rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match="lamb"):
        build_optimizer("lamb", 0.01, rates={"proxies": 2.0})


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"loss": "npair", "samples_per_class": 16}, "samples_per_class=16"),
        ({"batch_size": 50, "samples_per_class": 16}, "multiple"),
        ({"loss": "npair", "batch_size": 61}, "samples_per_class=2"),
        ({"cross_batch": 10}, "cross_batch"),
        ({"loss_options": "margin:3"}, "margin=0.5"),
        ({"temperature_schedule": "3"}, "0:0.0625"),
        ({"matryoshka": "8;16"}, "8,16,64.*Received: '8;16'"),
        ({"matryoshka": "16,8"}, "from few to many"),
        ({"matryoshka": "0,8"}, "from few to many"),
        ({"matryoshka": "8,16", "dim": 32}, "dim=32"),
        ({"loss": "unheard_of"}, "loss"),
    ],
)
def test_refused(settings, word):
    with pytest.raises(ValueError, match=word):
        supervised.Config(**settings)


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"loss": "proxy_nca", "miner": "hard"}, "proxies"),
        ({"loss": "affinity_frobenius", "miner": "hard"}, "miner"),
        ({"loss": "cosface", "loss_options": "margn=1"}, "margin"),
        ({"loss": "margin", "cross_batch": 64}, "cross-batch"),
        ({"loss": "cosface", "matryoshka": "2,4", "dim": 4}, "--matryoshka goes with"),
        ({"loss": "center", "matryoshka": "2,4", "dim": 4}, "--matryoshka goes with"),
    ],
)
def test_options_that_do_not_go_together(settings, word):
    labels = keras.Input((), dtype="int64")
    with pytest.raises(ValueError, match=word):
        build_objective(supervised.Config(**settings), keras.Input((4,)), labels, 3)


@pytest.mark.parametrize("queue", [0, 64])
def test_a_loss_of_every_prefix(queue):
    config = supervised.Config(
        loss="nt_xent", loss_options="temperature=0.3", matryoshka="2,4", dim=4
    )
    config = dataclasses.replace(config, cross_batch=queue)
    embeddings, labels = keras.Input((4,)), keras.Input((), dtype="int64")
    objective = build_objective(config, embeddings, labels, 3)
    assert objective.scheduled.temperature == 0.3
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    y = np.array([0, 0, 1, 1, 2, 2])
    rows = losses.Matryoshka(losses.NTXent(0.3), [2, 4]).per_row(y, x)
    model = keras.Model([embeddings, labels], objective.outputs)
    output = model([x, y])
    found = model.losses[0] if queue else objective.loss(y, output)
    np.testing.assert_allclose(found, np.mean(rows), rtol=1e-5)


def test_options_are_read():
    assert read_options("margin=0.5, form=cosine") == {"margin": 0.5, "form": "cosine"}
    assert read_options("") == {} and read_schedule("") is None
    assert read_schedule("0:0.0625,60:0.25") == {0: 0.0625, 60: 0.25}
    assert set(MINERS) and LOSSES["multi_similarity"][0] == PAIR


@pytest.mark.parametrize(
    "settings, classes, expected",
    [
        ({}, 10, 8),
        ({}, 1000, 8),
        ({}, 5, 16),  # four of the five in a batch
        ({}, 2, 32),
        ({"batch_size": 60}, 10, 10),
        ({"batch_size": 16}, 10, 8),
        ({"batch_size": 12}, 10, 6),  # two classes, and not one of twelve
        ({"batch_size": 4}, 10, 2),
        ({"samples_per_class": 4}, 10, 4),
        ({"loss": "npair", "batch_size": 20}, 10, 2),
    ],
)
def test_images_of_a_class(settings, classes, expected):
    config = supervised.Config(**settings)
    assert supervised.samples_of_a_class(config, classes) == expected


def test_a_batch_that_makes_no_classes_is_refused():
    with pytest.raises(ValueError, match="batch_size=61, 10 classes. Take 64"):
        supervised.samples_of_a_class(supervised.Config(batch_size=61), 10)


def test_defaults_are_those_that_were_measured():
    """The table of docs/experiments.md is of these; who changes one measures again."""
    config = supervised.Config()
    assert config.head_norm and config.unit_norm and config.proxy_rate == 10.0
    jitter = ("brightness", "contrast", "saturation", "hue", "grayscale", "flip")
    assert all(getattr(config, name) == 0 for name in jitter)
    assert (config.crop_min, config.samples_per_class) == (1.0, None)
    assert (config.optimizer, config.learning_rate) == ("adam", 0.001)


@pytest.mark.parametrize("name", sorted(LOSSES.parts))
def test_options_are_read_as_the_loss_takes_them_before_tensorflow_starts(name):
    _, found = find_loss(name)
    own = set(inspect.signature(found).parameters)
    own -= {"reduction", "name", "kwargs", "ignore_label"}
    check_options(name, dict.fromkeys(own, 1))
    for each in sorted(own):
        with pytest.raises(ValueError, match=f"Did you mean .*{each}"):
            check_options(name, {each + "x": 1})
    with pytest.raises(ValueError, match="nothing_like_it"):
        check_options(name, {"nothing_like_it": 1})
