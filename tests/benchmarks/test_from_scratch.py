"""One setting is changed at a time; what was trained is not trained again."""

import json

import numpy as np
import pytest
from PIL import Image

from tfembed.recipes import supervised
from tfembed.recipes.objectives import check_options, read_options


@pytest.fixture
def photos(tmp_path):
    """Four classes of one colour each, in three parts."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("validation", 2), ("test", 2)):
        for number, color in enumerate(
            ((200, 0, 0), (0, 200, 0), (0, 0, 200), [200] * 3)
        ):
            folder = tmp_path / "photos" / part / f"class{number}"
            folder.mkdir(parents=True)
            for image in range(count):
                pixels = rng.integers(0, 50, (12, 10, 3)) + color
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{image}.png")
    return tmp_path / "photos"


def test_a_row_changes_what_it_says(script, tmp_path):
    module = script("from_scratch")
    options = module.parse(["--photos", "x", "--factors", "--runs", str(tmp_path)])
    runs = module.plan(options)
    assert {loss for _, loss, _ in runs} == set(module.FEW)
    for (row, loss, seed), settings in runs.items():
        changed = {
            name
            for name, value in settings.items()
            if runs["before", loss, seed].get(name) != value
        }
        assert changed <= set(module.FACTORS[row]), row
        assert changed or row == "before"
        settings = {k: v for k, v in settings.items() if k != "momentum"}
        supervised.Config(**settings)


def test_every_loss_has_a_row(script, tmp_path):
    module = script("from_scratch")
    options = module.parse(["--photos", "x", "--runs", str(tmp_path)])
    runs = module.plan(options)
    assert {loss for _, loss, _ in runs} == {"softmax", *supervised.LOSSES}
    for settings in runs.values():
        supervised.Config(**settings)


def test_reasons_are_settings_that_the_losses_have(script, tmp_path):
    module = script("from_scratch")
    options = module.parse(["--photos", "x", "--reasons", "--runs", str(tmp_path)])
    runs = module.plan(options)
    assert {loss for _, loss, _ in runs} == set(module.REASONS)
    for (row, loss, seed), settings in runs.items():
        config = supervised.Config(**settings)
        check_options(loss, read_options(config.loss_options))
        now = runs["now", loss, seed]
        changed = {name for name in settings if settings[name] != now.get(name)}
        assert bool(changed) == (row != "now")
        assert changed <= {"learning_rate", "epochs", "loss_options", "unit_norm"}


def test_it_trains_once_and_measures(script, photos, table, tmp_path, capsys):
    module = script("from_scratch")
    change = {"batch_size": 8, "samples_per_class": 2, "steps_per_epoch": 2}
    change = json.dumps({**module.NO_JITTER, **change, "crop_min": 1.0, "flip": 0.0})
    words = ["--photos", str(photos), "--runs", str(tmp_path / "runs"), "--size", "8"]
    words += ["--epochs", "1", "--losses", "softmax", "contrastive", "--change", change]
    module.main(words)
    assert len(list((tmp_path / "runs").glob("*.json"))) == 2
    rows = table()
    assert {row["loss"] for row in rows} == {
        "softmax",
        "contrastive",
        "(raw pixels, 32 px)",
    }
    assert all(0 <= float(row["test, 10"]) <= 1 for row in rows)
    module.main([*words, "--table"])
    assert table() == [row for row in rows if row["loss"][0] != "("]
