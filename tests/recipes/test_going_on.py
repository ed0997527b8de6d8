"""More epochs for a finished run, and another run from its weights."""

import json
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf
from small_runs import arguments, run_quietly

import tfembed
from tfembed.data import load_images
from tfembed.recipes import initial, instdisc, invaspread, isl, supervised

SMALL = {
    "dataset": "synthetic",
    "limit": 48,
    "test_limit": 16,
    "image_size": 8,
    "epochs": 1,
    "batch_size": 16,
    "dim": 4,
    "schedule": "constant",
    "linear_probe": False,
    "crop_min": 1,
    "brightness": 0,
    "contrast": 0,
}
TIMES = ("images_per_second",)


def log(run_dir):
    lines = (run_dir / "log.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","))) for line in lines[1:]]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def state(run_dir):
    """Every number of the only backup: weights, bank, optimizer, counters."""
    (folder,) = (run_dir / "backup").iterdir()
    reader = tf.train.load_checkpoint(str(folder / "state"))
    values = {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
    }
    return {
        name: value.tobytes()
        for name, value in values.items()
        if hasattr(value, "tobytes") and value.dtype.kind in "fiub"
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of one epoch, and its settings."""
    run_dir = tmp_path_factory.mktemp("going-on") / "run"
    run_quietly(instdisc, run_dir, SMALL)
    return run_dir


def test_another_run_starts_from_its_weights_on_other_data(finished, tmp_path, capsys):
    """Before any training its encoder says what the other one says."""
    other = {**SMALL, "limit": 32, "seed": 3, "split": "seen", "head_norm": True}
    other.update(samples_per_class=4, loss="contrastive")
    run_dir = tmp_path / "other"
    run_quietly(supervised, run_dir, other, init=finished)
    rows = json.loads((run_dir / "baselines.json").read_text())
    assert rows[-1]["representation"] == f"network of {finished}"
    data = load_images("synthetic", limit=32, test_limit=16, image_size=8, seed=3)
    encoder = tfembed.load_model(finished / "model.keras")
    test, train = (
        encoder.predict(np.float32(part.read(np.arange(part.size))), verbose=0)
        for part in (data.test, data.train)
    )
    scores = np.float64(test) @ np.float64(train).T
    tenth = np.sort(scores, axis=1)[:, -10:-9]
    votes = np.where(scores >= tenth, np.exp(scores / 0.07), 0)
    hits = (votes @ np.eye(10)[data.train.labels]).argmax(1) == data.test.labels
    assert rows[-1]["knn_10"] == pytest.approx(hits.mean())
    with pytest.raises(SystemExit):
        supervised.main(arguments(tmp_path / "no", other, init=finished, dim=5))
    said = capsys.readouterr().err.splitlines()[-1]
    assert "same --backbone, --dim" in said and not (tmp_path / "no").exists()
    with pytest.raises(SystemExit):
        supervised.main(arguments(tmp_path / "no", other, init=tmp_path))
    assert "has no model.keras" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("recipe", [instdisc, invaspread, isl, supervised])
def test_every_recipe_starts_from_weights(recipe, finished):
    names = recipe.Config.__dataclass_fields__
    settings = {key: value for key, value in SMALL.items() if key in names}
    config = recipe.Config(
        **{**settings, "epochs": 2, "seed": 9, "frozen_batch_norm": True},
        head_norm=True,
    )
    (kind,) = (
        each
        for each in vars(recipe).values()
        if isinstance(each, type) and getattr(each, "Config", None) is recipe.Config
    )
    split = types.SimpleNamespace(size=32, labels=np.arange(32) % 10)
    data = types.SimpleNamespace(image_shape=(8, 8, 1), train=split, test=split)
    networks = kind().build(config, data)
    initial.start_from(networks.encoder, str(finished))
    images = np.random.default_rng(0).uniform(0, 255, (5, 8, 8, 1)).astype("float32")
    expected = tfembed.load_model(finished / "model.keras")(images)
    np.testing.assert_allclose(networks.encoder(images), expected, rtol=1e-6, atol=1e-6)


def test_a_finished_run_goes_on_as_a_longer_one_does(
    finished, tmp_path, monkeypatch, capsys
):
    """With a constant rate it ends as if it had been told so from the start."""
    whole = tmp_path / "whole"
    result = run_quietly(instdisc, whole, SMALL, epochs=2)
    first = log(finished)

    def killed(recipe, run):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(instdisc.InstanceDiscrimination, "train", killed)
        with pytest.raises(SystemExit, match="130"):
            instdisc.main(arguments(finished, SMALL, epochs=2))
    assert "stopped; the same command goes on" in capsys.readouterr().err
    assert not (finished / "result.json").exists()
    found = run_quietly(instdisc, finished, SMALL, epochs=2)
    assert found["epochs"] == 2 and found["seconds_are_of"] == "epochs 2 to 2"
    assert log(finished) == log(whole) and log(finished)[:1] == first
    assert found["table"] == result["table"]
    assert state(finished) == state(whole)
    assert json.loads((finished / "stages.json").read_text()) == [1]
    assert json.loads((finished / "config.json").read_text())["epochs"] == 2


def test_what_cannot_go_on_says_so(finished, tmp_path, capsys):
    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    epochs = json.loads((run_dir / "config.json").read_text())["epochs"]
    before = (run_dir / "result.json").read_bytes()
    for more, words in (
        ({"epochs": epochs + 1, "temperature": 0.3}, "temperature=0.1 there, 0.3 here"),
        ({"epochs": epochs + 1, "limit": 40}, "limit=48 there, 40 here"),
    ):
        with pytest.raises(SystemExit):
            instdisc.main(arguments(run_dir, SMALL, **more))
        said = capsys.readouterr().err
        assert words in said and "epochs=" not in said
    shutil.rmtree(run_dir / "backup")
    with pytest.raises(SystemExit):
        instdisc.main(arguments(run_dir, SMALL, epochs=epochs + 1))
    assert f"--init {run_dir}" in capsys.readouterr().err
    assert (run_dir / "result.json").read_bytes() == before


def test_rounds_stay_and_the_last_one_is_longer():
    stages = types.SimpleNamespace(read_json={"stages.json": [6, 8]}.get)
    run = types.SimpleNamespace(
        config=isl.Config(epochs=12, rounds=3), directory=stages
    )
    spans = isl.InstanceSimilarityLearning().spans(run)
    assert spans == [(0, 2), (2, 4), (4, 12)]
    run.directory = types.SimpleNamespace(read_json={}.get)
    assert isl.InstanceSimilarityLearning().spans(run) == [(0, 4), (4, 8), (8, 12)]
