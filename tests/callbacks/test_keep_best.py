"""The best epoch is kept, whole; patience stops; a resume keeps the same."""

import errno
import os

import numpy as np
import pytest
from tensorflow import keras

from tfembed.callbacks import KeepBest, WithAverages


def encoder():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])


def play(folder, values, first=0, stop_at=None, **options):
    """Goes through epochs whose encoder has the epoch's number as its weights."""
    model = encoder()
    keeper = KeepBest(folder, model, "score", **options)
    keeper.set_model(model)
    model.stop_training = False
    for epoch in range(first, len(values)):
        model.set_weights([np.full((2, 1), epoch + 1.0)])
        keeper.on_epoch_end(epoch, {"score": values[epoch], "loss": 1.0})
        if model.stop_training:
            return epoch + 1
    return len(values)


def kept(folder, **options):
    model = encoder()
    best = KeepBest(folder, model, "score", **options).restore()
    return best, None if best is None else float(model.get_weights()[0][0, 0])


@pytest.mark.parametrize(
    ("mode", "values", "epoch"),
    [
        ("max", [0.1, 0.4, 0.3, 0.4], 2),  # the first of two alike
        ("min", [3.0, 2.0, 1.0, 2.0], 3),
        ("max", [float("nan"), 0.2, float("nan")], 2),
    ],
)
def test_the_best_epoch_comes_back(mode, values, epoch, tmp_path):
    assert play(tmp_path / "best", values, mode=mode) == len(values)
    best, weight = kept(tmp_path / "best", mode=mode)
    assert best["epoch"] == weight == epoch
    assert best["value"] == values[epoch - 1]
    names = sorted(os.listdir(tmp_path / "best"))
    assert names == ["best.json", f"epoch-{epoch:05d}"]


def test_without_a_best_nothing_changes(tmp_path):
    assert kept(tmp_path / "best") == (None, None)


def test_patience(tmp_path):
    values = [0.1, 0.5, 0.4, 0.3, 0.9]
    assert play(tmp_path / "a", values, patience=2) == 4
    assert kept(tmp_path / "a")[0]["epoch"] == 2
    assert KeepBest(tmp_path / "a", encoder(), "score", patience=2).exhausted(4)
    assert not KeepBest(tmp_path / "a", encoder(), "score", patience=3).exhausted(4)
    assert not KeepBest(tmp_path / "a", encoder(), "score").exhausted(400)
    assert play(tmp_path / "b", values, patience=3) == 5


@pytest.mark.parametrize("stopped", range(1, 5))
def test_a_resume_keeps_the_same(stopped, tmp_path):
    """Killed after an epoch was kept and before it was backed up: it comes again."""
    values = [0.1, 0.5, 0.4, 0.6, 0.2]
    play(tmp_path / "best", values[:stopped])
    play(tmp_path / "best", values, first=stopped - 1)
    best, weight = kept(tmp_path / "best")
    assert best["epoch"] == weight == 4


def test_a_full_disk_leaves_the_best_before(tmp_path, monkeypatch):
    play(tmp_path / "best", [0.1, 0.5])

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tfembed.formats.disk.sync", full)
    with pytest.raises(OSError, match="no room"):
        play(tmp_path / "best", [0.1, 0.5, 0.9], first=2)
    monkeypatch.undo()
    assert kept(tmp_path / "best")[1] == 2


def test_epochs_that_are_not_measured_are_passed_over(tmp_path):
    keeper = KeepBest(tmp_path, encoder(), "score", patience=2, every=2)
    keeper.set_model(encoder())
    keeper.on_epoch_end(0, {"loss": 1.0})
    keeper.on_epoch_end(1, {"loss": 1.0, "score": 0.5})
    keeper.on_epoch_end(2, {"loss": 1.0})
    assert keeper.best()["epoch"] == 2
    with pytest.raises(ValueError, match="one of loss. Received: monitor='score'"):
        keeper.on_epoch_end(3, {"loss": 1.0})


def test_refused(tmp_path):
    with pytest.raises(ValueError, match="`mode` must be"):
        KeepBest(tmp_path, encoder(), "score", mode="best")
    with pytest.raises(ValueError, match="`patience` must be"):
        KeepBest(tmp_path, encoder(), "score", patience=0)
    with pytest.raises(ValueError, match="one of loss, score. Received: monitor='x'"):
        KeepBest(tmp_path, encoder(), "x").on_epoch_end(0, {"loss": 1, "score": 2})


def test_what_measures_sees_the_averages():
    import contextlib

    seen, model = [], encoder()

    @contextlib.contextmanager
    def other_weights(model):
        before = model.get_weights()
        model.set_weights([np.full((2, 1), 7.0)])
        yield
        model.set_weights(before)

    class Looks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(float(self.model.get_weights()[0][0, 0]))
            logs["looked"] = 1.0

    model.set_weights([np.ones((2, 1))])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(
        np.ones((4, 2)),
        np.ones((4, 1)),
        epochs=2,
        verbose=0,
        callbacks=[WithAverages([Looks()], other_weights)],
    )
    assert seen == [7.0, 7.0]
    assert float(model.get_weights()[0][0, 0]) == 1.0
    assert history.history["looked"] == [1.0, 1.0]
