"""The softmax classifier beside a supervised run: same network, batches and budget."""

import json
import types

import numpy as np
import pytest
from small_runs import run_quietly

from tfembed.recipes import softmax_baseline, supervised, training
from tfembed.recipes.run_directory import RunDirectory

SMALL = {
    "dataset": "synthetic",
    "limit": 48,
    "test_limit": 24,
    "image_size": 8,
    "split": "seen",
    "epochs": 2,
    "batch_size": 16,
    "samples_per_class": 4,
    "dim": 8,
    "schedule": "constant",
    "linear_probe": False,
    "softmax_baseline": True,
    "brightness": 0,
    "contrast": 0,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two epochs that nothing stopped."""
    run_dir = tmp_path_factory.mktemp("softmax") / "run"
    return run_dir, run_quietly(supervised, run_dir, SMALL)


def names(result):
    return [row["representation"] for row in result["table"]]


def classified(result):
    (row,) = (
        row for row in result["table"] if row["representation"] == "softmax classifier"
    )
    return row


def log(run_dir):
    lines = (run_dir / "log.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","))) for line in lines[1:]]
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]


def test_it_is_a_row_beside_the_run_and_leaves_the_run_alone(whole, tmp_path):
    run_dir, result = whole
    assert names(result)[-3:] == [
        "untrained network",
        "softmax classifier",
        "trained encoder",
    ]
    without = run_quietly(supervised, tmp_path / "run", SMALL, softmax_baseline=False)
    assert "softmax classifier" not in names(without)
    assert without["table"][-1] == result["table"][-1]
    assert log(tmp_path / "run") == log(run_dir)
    assert not (tmp_path / "run" / "softmax").exists()


def test_it_is_cross_entropy_on_the_embedding_before_its_length_is_taken(whole):
    """Its first loss is that of ten classes by chance; it falls, by its own log."""
    rows = log(whole[0] / "softmax")
    assert len(rows) == 2
    losses = [float(row["loss"]) for row in rows]
    assert losses[1] < losses[0] < 2 * np.log(10)
    split = types.SimpleNamespace(size=32, labels=np.arange(32) % 4)
    data = types.SimpleNamespace(image_shape=(8, 8, 1), train=split)
    networks = supervised.Supervised().build_classifier(supervised.Config(dim=8), data)
    images = np.random.default_rng(0).uniform(0, 255, (5, 8, 8, 1)).astype("float32")
    kernel, bias = networks.model.get_layer("classifier").get_weights()
    assert kernel.shape == (8, 4)
    logits = networks.model({"images": images}).numpy()
    unit = networks.encoder(images).numpy()
    ratio = logits / (unit @ kernel + bias)
    np.testing.assert_allclose(ratio, ratio[:, :1].repeat(4, 1), rtol=1e-3)
    y = np.array([0, 3, 1, 2, 0])
    shifted = logits - logits.max(1, keepdims=True)
    expected = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(5), y]
    np.testing.assert_allclose(networks.loss(y, logits), expected.mean(), rtol=1e-5)


def test_stopped_or_told_to_have_more_epochs_it_goes_on(whole, tmp_path, monkeypatch):
    """One epoch; told to do two, and killed in the classifier's second; and again."""
    run_dir, fit = tmp_path / "run", training.Run.fit
    run_quietly(supervised, run_dir, SMALL, epochs=1)

    def stopped(run, first, last):
        fit(run, first, last)
        if run.directory == run_dir / "softmax":
            raise KeyboardInterrupt

    monkeypatch.setattr(training.Run, "fit", stopped)
    with pytest.raises(SystemExit, match="130"):
        run_quietly(supervised, run_dir, SMALL)
    assert not (run_dir / "result.json").exists()
    monkeypatch.setattr(training.Run, "fit", fit)
    result = run_quietly(supervised, run_dir, SMALL)
    assert result["table"] == whole[1]["table"]
    assert log(run_dir / "softmax") == log(whole[0] / "softmax")
    assert json.loads((run_dir / "softmax_baseline.json").read_text()) == {
        "epochs": 2,
        "row": classified(result),
    }


def test_its_failure_does_not_cost_the_result(tmp_path, monkeypatch):
    def fails(run):
        raise ValueError("The loss became nan in epoch 1.")

    monkeypatch.setattr(softmax_baseline, "_train", fails)
    said = []
    run = types.SimpleNamespace(
        config=supervised.Config(epochs=3),
        directory=RunDirectory(tmp_path / "run", "supervised", supervised.Config()),
        chief=True,
        say=said.append,
    )
    assert softmax_baseline.softmax_row(run) is None
    assert "has no row: The loss became nan" in said[-1]
    run.directory.close()
