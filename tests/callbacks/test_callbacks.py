"""Backup, watchdog, neighbour accuracy and pace, in a real `fit`."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import layers
from tfembed.callbacks import Backup, BankWatchdog, NeighborAccuracy, Pace
from tfembed.metrics import embed, weighted_knn

SIZE, DIM = 64, 6


def networks(optimizer=None, endpoint=None):
    keras.utils.set_random_seed(1)
    images, ids = keras.Input((DIM,)), keras.Input((), dtype="int64")
    embeddings = keras.layers.Dense(DIM, name="dense")(images)
    embeddings = keras.layers.BatchNormalization()(embeddings)
    embeddings = layers.UnitNorm(dtype="float32")(embeddings)
    endpoint = endpoint or layers.NoiseContrastive(SIZE, 16, temperature=0.2, seed=1)
    model = keras.Model([images, ids], endpoint([embeddings, ids]))
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9))
    return model, keras.Model(images, embeddings), endpoint


def data(scale=1.0):
    rng = np.random.default_rng(0)
    images = np.float32(rng.normal(size=(SIZE, DIM)) * scale)
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(SIZE)))
    return images, dataset.batch(8).map(lambda x, i: ((x, i),))


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adamw": lambda: keras.optimizers.AdamW(1e-2),
}


@pytest.mark.parametrize(
    ("optimizer", "policy"),
    [
        ("adamw", "mixed_float16"),
        pytest.param("sgd", "float32", marks=pytest.mark.slow),
        pytest.param("sgd", "mixed_float16", marks=pytest.mark.slow),
        pytest.param("sgd", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("adamw", "float32", marks=pytest.mark.slow),
        pytest.param("adamw", "mixed_bfloat16", marks=pytest.mark.slow),
    ],
)
def test_a_restored_run_ends_as_an_uninterrupted_one(optimizer, policy, tmp_path):
    keras.mixed_precision.set_global_policy(policy)
    _, batches = data()
    whole, _, _ = networks(OPTIMIZERS[optimizer]())
    whole.fit(batches, epochs=4, shuffle=False, verbose=0)

    first, _, _ = networks(OPTIMIZERS[optimizer]())
    backup = Backup(tmp_path / "backup")
    first.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=[backup])
    assert [each.name for each in (tmp_path / "backup").iterdir()] == ["epoch-00002"]

    second, _, _ = networks(OPTIMIZERS[optimizer]())
    assert Backup(tmp_path / "backup").restore(second) == 2
    second.fit(batches, epochs=4, initial_epoch=2, shuffle=False, verbose=0)
    for a, b in zip(whole.get_weights(), second.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_no_backup_is_epoch_0(tmp_path):
    model, _, _ = networks()
    before = model.get_weights()
    assert Backup(tmp_path / "none").restore(model) == 0
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_a_partial_backup_is_not_seen(tmp_path):
    model, _, _ = networks()
    _, batches = data()
    backup = Backup(tmp_path)
    model.fit(batches, verbose=0, callbacks=[backup])
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "state.index").write_bytes(b"half")
    assert backup.newest() == (1, tmp_path / "epoch-00001")


def test_an_epoch_whose_loss_is_not_finite_is_not_saved(tmp_path):
    model, _, _ = networks()
    backup = Backup(tmp_path)
    backup.set_model(model)
    backup.on_epoch_end(0, {"loss": 1.0})
    backup.on_epoch_end(1, {"loss": float("nan")})
    assert backup.newest()[0] == 1


def test_a_backup_of_another_model_is_refused(tmp_path):
    model, _, _ = networks()
    _, batches = data()
    model.fit(batches, verbose=0, callbacks=[Backup(tmp_path)])
    images = keras.Input((DIM,))
    other = keras.Model(images, keras.layers.Dense(3)(images))
    other.compile("sgd", "mse")
    with pytest.raises(ValueError, match="not one of this model"):
        Backup(tmp_path).restore(other)


def test_neighbor_accuracy_is_that_of_the_metric_and_changes_nothing():
    model, encoder, _ = networks()
    images, batches = data()
    labels = np.arange(SIZE) % 4
    callback = NeighborAccuracy(
        encoder, [images[:40], images[40:]], labels, [images], labels[::-1], ks=(3, 500)
    )
    history = model.fit(batches, epochs=2, verbose=0, callbacks=[callback]).history
    found = embed(encoder, [images])
    predicted = weighted_knn(found, found, labels, 3)
    assert history["knn_3"][-1] == np.mean(predicted == labels[::-1])
    assert "knn_500" not in history  # more neighbours than there are

    plain, _, _ = networks()
    plain.fit(batches, epochs=2, verbose=0)
    for a, b in zip(plain.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_neighbor_accuracy_every_second_epoch():
    model, encoder, _ = networks()
    images, batches = data()
    labels = np.arange(SIZE) % 4
    callback = NeighborAccuracy(
        encoder, [images], labels, [images], labels, ks=(3,), every=2
    )
    found = model.fit(batches, epochs=4, verbose=0, callbacks=[callback]).history
    assert len(found["loss"]) == 4  # and of the first, the second and the fourth:
    assert len(found["knn_3"]) == 3 and all(0 <= each <= 1 for each in found["knn_3"])


def test_the_watchdog_sees_a_rising_loss_once():
    watchdog = BankWatchdog(layers.InstanceSoftmax(4))
    means = np.cumsum(np.linspace(1, 2, 30)) / np.arange(1, 31)
    with pytest.warns(UserWarning, match="is above its first value") as caught:
        for _ in range(2):  # two epochs of 30 steps
            watchdog.on_epoch_begin(0)
            for batch, mean in enumerate(means):
                watchdog.on_train_batch_end(batch, {"loss": mean})
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "After 50 steps the loss, 1.50, is above its first value, 1.00:" in message
    assert "--bank-init forward" in message
    np.testing.assert_allclose(watchdog.losses[:30], np.linspace(1, 2, 30))


def test_the_watchdog_is_silent_when_it_learns(recwarn):
    watchdog = BankWatchdog(layers.InstanceSoftmax(4))
    watchdog.on_epoch_begin(0)
    means = np.cumsum(np.linspace(2, 1, 60)) / np.arange(1, 61)
    for batch, mean in enumerate(means):
        watchdog.on_train_batch_end(batch, {"loss": mean})
    assert not [each for each in recwarn if each.category is UserWarning]


def test_the_watchdog_sees_a_normalizer_that_is_too_small():
    endpoint = layers.NoiseContrastive(SIZE, 16, temperature=0.2, normalizer=1e-3)
    model, _, _ = networks(endpoint=endpoint)
    _, batches = data()
    with pytest.warns(UserWarning, match="mean noise posterior") as caught:
        model.fit(batches, epochs=2, verbose=0, callbacks=[BankWatchdog(endpoint)])
    assert len([each for each in caught if "posterior" in str(each.message)]) == 1
    assert endpoint.noise_posterior > 0.5


def test_pace_counts_training_and_says_what_is_left():
    lines = []
    model, _, _ = networks()
    _, batches = data()
    pace = Pace(SIZE, 3, report=lines.append)
    history = model.fit(batches, epochs=3, verbose=0, callbacks=[pace]).history
    assert all(each > 0 for each in history["images_per_second"])
    assert [line.split(",")[0] for line in lines] == [
        "1 of 3 epochs done",
        "2 of 3 epochs done",
    ]
