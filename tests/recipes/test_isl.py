"""Rounds of ISL: what a run leaves, its stop rules, and that a kill changes nothing."""

import csv
import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from small_runs import ROOT, arguments, run_quietly

from tfembed.recipes import config as configs
from tfembed.recipes import isl, mining

SMALL = {
    "dataset": "synthetic",
    "limit": 64,
    "test_limit": 20,
    "image_size": 8,
    "epochs": 3,
    "first_round_epochs": 1,
    "rounds": 2,
    "batch_size": 32,
    "dim": 8,
    "candidates": 32,
    "gan_batch_size": 32,
    "gan_epochs": 3,
    "gan_least_epochs": 2,
    "gan_learning_rate": 0.01,
    "mining_passes": 2,
    "mining_target": 50,  # never reached: all passes are made
    "score": 0.2,
    "radius": 0.3,
    "bank_init": "unit",
    "crop_min": 1.0,
    "contrast": 0.0,
    "knn_every": 3,
    "linear_probe": False,
}
TIMES = {"images_per_second", "seconds"}


def table(path):
    with open(path) as file:
        return [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in csv.DictReader(file)
        ]


def sets_of(run_dir):
    with np.load(run_dir / "positives.npz") as saved:
        offsets, indices = saved["offsets"], saved["indices"]
    assert offsets.dtype == np.int64 and indices.dtype == np.int32
    return [set(indices[a:b].tolist()) for a, b in zip(offsets, offsets[1:])]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run, its result, and what it printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    return run_dir, run_quietly(isl, run_dir, SMALL)


def test_a_run_leaves_its_sets_and_rounds(finished):
    run_dir, result = finished
    assert json.loads((run_dir / "result.json").read_text()) == result
    assert len(table(run_dir / "log.csv")) == 3
    (row,) = table(run_dir / "rounds.csv")
    assert row["round"] == "1" and row["passes"] == "2" and row["gan_epochs"] == "3"
    sets = sets_of(run_dir)
    assert len(sets) == 64
    assert all(i in each for i, each in enumerate(sets))
    assert all(i in sets[j] for i, each in enumerate(sets) for j in each)
    others = sum(len(each) - 1 for each in sets)
    assert others > 0
    assert float(row["positives_per_image"]) == others / 64
    assert int(row["largest_set"]) == max(map(len, sets))
    with np.load(run_dir / "gallery.npz") as gallery:
        labels = gallery["labels"]
    right = sum(labels[i] == labels[j] for i, s in enumerate(sets) for j in s - {i})
    assert float(row["precision"]) == pytest.approx(right / others)
    for name in ("neighbor_precision", "closest_precision"):
        assert 0 <= float(row[name]) <= 1
    assert [row["epoch"] for row in table(run_dir / "mining" / "gan.csv")] == list(
        "012"
    )


def test_the_backup_holds_the_sets_that_the_encoder_trains_with(finished):
    import tensorflow as tf

    run_dir, _ = finished
    (folder,) = (run_dir / "backup").iterdir()
    reader = tf.train.load_checkpoint(str(folder / "state"))
    (name,) = [
        name
        for name, shape in reader.get_variable_to_shape_map().items()
        if shape == [64, 32] and reader.get_variable_to_dtype_map()[name] == tf.int64
    ]
    found = [set(row[row >= 0].tolist()) for row in reader.get_tensor(name)]
    for i, each in enumerate(sets_of(run_dir)):
        if len(each) <= 33:
            assert found[i] == each - {i}
        else:
            assert len(found[i]) == 32 and found[i] < each


def same_runs(one, other):
    for name in ("log.csv", "rounds.csv", "mining/gan.csv"):
        for a, b in zip(table(one / name), table(other / name)):
            a = {key: float(value) for key, value in a.items()}
            b = {key: float(value) for key, value in b.items()}
            assert a == pytest.approx(b, rel=1e-3, abs=1e-4, nan_ok=True)
        assert len(table(one / name)) == len(table(other / name))
    assert sets_of(one) == sets_of(other)
    found = [np.load(each / "gallery.npz")["embeddings"] for each in (one, other)]
    np.testing.assert_allclose(*found, atol=1e-3)


def launch(run_dir, **flags):
    words = arguments(run_dir, SMALL, **flags)
    return subprocess.Popen(
        [sys.executable, "-m", "tfembed.recipes.isl", *words],
        cwd=run_dir.parent,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_when(process, there):
    """Kills a run as soon as something is there."""
    deadline = time.monotonic() + 300
    while not there():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_killed_while_the_gan_learns_it_ends_the_same(finished, tmp_path, capfd):
    whole, _ = finished
    run_dir = tmp_path / "killed"
    kill_when(launch(run_dir), (run_dir / "mining/backup/epoch-00001").exists)
    assert not (run_dir / "rounds.csv").exists()
    run_quietly(isl, run_dir, SMALL)
    said = capfd.readouterr().err
    assert "going on after epoch 1 of 3" in said
    assert "GAN epoch 1 " not in said and "GAN epoch 3 " in said
    same_runs(run_dir, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "backup/epoch-00001",
        "mining/backup/epoch-00003",
        "mining/sets.npz",
        "positives.npz",
        "rounds.csv",
        "backup/epoch-00002",
    ],
)
def test_killed_at_any_stage_it_ends_the_same(finished, tmp_path, moment):
    whole, _ = finished
    run_dir = tmp_path / "killed"
    kill_when(launch(run_dir), (run_dir / moment).exists)
    run_quietly(isl, run_dir, SMALL)
    same_runs(run_dir, whole)


def test_stopped_between_two_passes_it_ends_the_same(finished, tmp_path, monkeypatch):
    """What earlier passes found is known to a pass that another process makes."""
    whole, _ = finished
    enough = mining.Mining.enough

    def stop(self, number, sets, seen):
        if seen["passes"]:
            raise RuntimeError("stopped here")
        return enough(self, number, sets, seen)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stopped"):
        patch.setattr(mining.Mining, "enough", stop)
        run_quietly(isl, tmp_path / "run", SMALL)
    assert (tmp_path / "run/mining/sets.npz").exists()
    assert not (tmp_path / "run/rounds.csv").exists()
    run_quietly(isl, tmp_path / "run", SMALL)
    same_runs(tmp_path / "run", whole)


@pytest.mark.slow
def test_one_round_is_instance_discrimination(tmp_path):
    from tfembed.recipes import instdisc

    shared = {
        key: value
        for key, value in SMALL.items()
        if key in instdisc.Config.__dataclass_fields__
    }
    shared = {**shared, "epochs": 1, "knn_every": 1}
    mine = run_quietly(isl, tmp_path / "isl", {**shared, "rounds": 1})
    theirs = run_quietly(instdisc, tmp_path / "instdisc", shared)
    assert not (tmp_path / "isl" / "rounds.csv").exists()
    (one,), (other,) = (
        table(tmp_path / name / "log.csv") for name in ("isl", "instdisc")
    )
    assert float(one["loss"]) == pytest.approx(float(other["loss"]), rel=1e-4)
    assert mine["table"][-1]["knn_10"] == theirs["table"][-1]["knn_10"]


def stages(**settings):
    """A `Mining` of which only the rules are asked."""
    rules = object.__new__(mining.Mining)
    rules.config = isl.Config(**settings)
    return rules


@pytest.mark.parametrize(
    ("losses", "trained"),
    [
        ([], False),
        ([0.1, 0.2], False),  # not before `gan_least_epochs`
        ([0.3, 0.2, 0.1, 0.2], False),
        ([0.3, 0.2, 0.1, 0.2, 0.15], True),  # the best is two epochs old
        ([0.3, 0.2, 0.1, 0.2, 1.5], False),  # above `gan_ceiling`
        ([0.3, 0.1, 0.1, 0.1], True),  # an equal one is no better
        ([0.6, 0.5, 0.4, 0.3, 0.2], False),
        ([0.7, 0.6, 0.5, 0.4, 0.3, 0.2], True),  # `gan_epochs`
        ([math.inf] * 6, True),
    ],
)
def test_when_the_gan_is_trained(losses, trained):
    rules = stages(gan_epochs=6, gan_least_epochs=3, gan_patience=2, gan_ceiling=1.0)
    rows = [{"generator_loss": str(each)} for each in losses]
    assert rules.gan_is_trained(rows) is trained


@pytest.mark.parametrize(
    ("passes", "pairs", "others", "number", "over"),
    [
        (0, 0, 0, 1, False),
        (1, 4, 48, 1, False),  # one pair more is wanted
        (1, 4, 49, 1, True),
        (1, 4, 50, 1, True),
        (1, 4, 51, 2, False),
        (3, 0, 10, 1, True),  # nothing more to find
        (5, 4, 10, 1, True),  # `mining_passes`
        (0, 0, 90, 1, True),  # the round before found enough
    ],
)
def test_when_mining_is_over(passes, pairs, others, number, over):
    rules = stages(mining_passes=5, mining_target=0.5)
    rules.run = types.SimpleNamespace(
        data=types.SimpleNamespace(train=types.SimpleNamespace(size=100))
    )
    sets = types.SimpleNamespace(others=others)
    assert rules.enough(number, sets, {"passes": passes, "pairs": pairs}) is over


@pytest.mark.slow
def test_a_run_with_plain_neighbours_for_positives(tmp_path):
    run_quietly(isl, tmp_path / "run", SMALL, positives="nearest", mining_target=0.5)
    (row,) = table(tmp_path / "run" / "rounds.csv")
    assert row["gan_epochs"] == "0"
    assert sum(len(each) - 1 for each in sets_of(tmp_path / "run")) == 32
    assert float(row["precision"]) == float(row["closest_precision"])


def test_precision_of_plain_neighbours_equals_loops():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels, counts = rng.integers(0, 3, 40), rng.integers(0, 5, 40)
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    hits = [
        labels[i] == labels[j]
        for i in range(40)
        for j in np.argsort(-similarity[i])[: counts[i]]
    ]
    pairs = np.argsort(-similarity, axis=None)[: counts.sum()]
    closest = labels[pairs // 40] == labels[pairs % 40]
    found = mining.neighbor_precision(np.float32(rows), labels, counts)
    assert found == pytest.approx((np.mean(hits), np.mean(closest)))
    sampled = mining.neighbor_precision(np.float32(rows), labels, counts, measured=10)
    assert all(0 <= each <= 1 for each in sampled) and sampled != found


def test_spans_of_the_rounds():
    assert isl.Config(epochs=12, rounds=3).spans() == [(0, 4), (4, 8), (8, 12)]
    config = isl.Config(epochs=10, rounds=3, first_round_epochs=5)
    assert config.spans() == [(0, 5), (5, 7), (7, 10)]
    assert isl.Config(epochs=3, rounds=1, first_round_epochs=2).spans() == [(0, 3)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"epochs": 1}, "must leave one epoch for each round"),
        ({"first_round_epochs": 12}, "must leave one epoch for each round"),
        ({"radius": 1.5}, "`radius` must be above 0 and at most 1"),
        ({"strategy": "multi_worker"}, "`strategy` must be mirrored"),
        ({"hard": "easiest"}, "`hard` must be one of"),
        ({"momentum": 1.0}, "`momentum` must be"),
        ({"gan_epochs": 0}, "`gan_epochs` must be at least 1"),
    ],
)
def test_settings_that_cannot_be_get_a_sentence(flags, message):
    with pytest.raises(ValueError, match=message) as error:
        isl.Config(**flags)
    assert "Received" in str(error.value)
    isl.Config(radius=1.5, radius_rule="euclidean")


def parsed(*words):
    return configs.parse(isl.Config, "tfembed.recipes.isl", "", list(words))[0]


def test_a_preset_goes_over_the_file_and_flags_over_the_preset(tmp_path):
    file = tmp_path / "run.py"
    file.write_text(
        "from tfembed.recipes.isl import Config\n"
        'config = Config(hard="most_similar", proxies=7, rounds=3)\n'
    )
    assert parsed() == parsed("--preset", "tfembed") == isl.Config()
    config = parsed("--config", str(file), "--preset", "paper", "--radius", "0.5")
    assert (config.rounds, config.hard, config.proxies) == (3, "least_similar", 5)
    assert (config.radius, config.radius_rule) == (0.5, "euclidean")
    assert parsed("--config", str(file), "--preset", "tfembed") == isl.Config(rounds=3)
    assert parsed("--preset", "code") == isl.Config(**isl.Config.PRESETS["code"])


def test_presets_set_whatever_the_paper_and_its_code_do_differently():
    told = {
        field.name
        for field in dataclasses.fields(isl.Config)
        if re.search(
            r"\b(paper|code)\b\)|in the paper|its code", field.metadata["help"]
        )
    }
    # What is no question of paper or code: a misprint, and when the GAN is trained.
    switches = (told | {"radius"}) - {"hard_sign", "gan_ceiling", "alpha", "bank_init"}
    switches -= {"optimizer"}
    for preset in isl.Config.PRESETS.values():
        assert set(preset) == switches


def test_the_table_of_presets_is_true():
    text = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `--([\w-]+)` \| [^|]+ \|(.+)\|$", text, re.MULTILINE)
    presets = [isl.Config.PRESETS[name] for name in ("paper", "code", "tfembed")]
    table = {
        name.replace("-", "_"): [cell.strip().strip("`") for cell in cells.split("|")]
        for name, cells in rows
    }
    assert table == {
        name: [str(preset[name]) for preset in presets] for name in presets[0]
    }


@pytest.mark.slow
@pytest.mark.parametrize("preset", isl.Config.PRESETS)
def test_a_run_by_each_preset(preset, tmp_path):
    flags = {**SMALL, **isl.Config.PRESETS[preset], "score": 0.0}
    run_quietly(isl, tmp_path / "run", flags)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["radius_rule"] == flags["radius_rule"]
    assert (tmp_path / "run" / "result.json").exists()
