"""The commands say what is meant, and the tables come from results."""

import json

import pytest

from tfembed.recipes import config as configs
from tfembed.recipes.isl import Config


def read(command):
    assert command[1:3] == ["-m", "tfembed.recipes.isl"]
    return configs.parse(Config, "isl", "", list(map(str, command[3:])))


def test_the_variants_share_what_they_do_not_differ_in(script, tmp_path):
    module = script("isl")
    runs = module.plan(module.parse([f"--runs={tmp_path}", "--seeds", "4"]))
    found = {}
    for (variant, seed), (folder, command) in runs.items():
        config, run_dir = read(command)
        assert seed == config.seed == 4 and run_dir == str(folder)
        assert (config.limit, config.epochs) == (20000, 12)
        found[variant] = config
    assert len({folder for folder, _ in runs.values()}) == len(module.VARIANTS)
    base = found.pop(module.BASE)
    assert base.rounds == 1
    for config in found.values():
        assert config.spans() == [(0, 6), (6, 12)]
    for field in Config.__dataclass_fields__:
        values = {getattr(config, field) for config in found.values()}
        differs = len(values) > 1
        assert differs == (field in ("hard", "hard_weight", "positives", "proxies"))


def result(folder, half, end):
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(
        "epoch,knn_10,knn_200\n"
        + "".join(f"{i},{half},{half - 0.1}\n" for i in range(6))
        + "".join(f"{i},{end},{end - 0.1}\n" for i in range(6, 12))
    )
    row = {"representation": "trained encoder", "knn_10": end, "knn_200": end - 0.1}
    content = {
        "epochs": 12,
        "seconds": 90,
        "seconds_are_of": "epochs 1 to 12",
        "table": [row],
    }
    (folder / "result.json").write_text(json.dumps(content))


@pytest.fixture
def finished(script, tmp_path):
    module = script("isl")
    words = ["--table", "--seeds", "0", "1", f"--runs={tmp_path}"]
    for (variant, seed), (folder, _) in module.plan(module.parse(words)).items():
        if variant == module.BASE:
            result(folder, 0.7, 0.8)
        elif variant == "isl":
            result(folder, 0.7, 0.81 + 0.02 * seed)
            (folder / "rounds.csv").write_text(
                "round,positives_per_image,images_with_positives,precision,"
                "neighbor_precision,closest_precision\n1,0.5,0.25,0.9,0.8,0.7\n"
            )
    return module, words


def test_gains_are_of_the_same_seed(finished, table, capsys):
    module, words = finished
    module.main(words)
    text = capsys.readouterr().out
    assert "4 of 12 runs finished" in text
    assert "k = 10: +2.0 points, in 2 of 2 seeds" in text
    base, isl = table(text)
    assert (base["knn 10, half"], base["knn 10, end"]) == ("70.0", "80.0")
    assert base["gain, k = 10"] == "-" and isl["gain, k = 10"] == "+1.0 +3.0"
    assert isl["knn 200, end"] == "72.0" and isl["minutes"] == "1.5"


def test_the_positives_of_each_run(finished, table):
    module, words = finished
    module.main([*words, "--positives"])
    rows = table()
    assert [row["run"] for row in rows] == ["isl, seed 0", "isl, seed 1"]
    assert rows[0]["positives an image"] == "0.50"
    assert [rows[0][name] for name in ("of its class", "as many nearest")] == [
        "90.0",
        "80.0",
    ]


@pytest.mark.slow
def test_one_tiny_run(script, table, tmp_path):
    module = script("isl")
    words = ["--seeds=0", f"--runs={tmp_path}", "--rows", "isl", "--dataset=synthetic"]
    module.main(
        [*words, "--limit=24", "--test-limit=12", "--epochs=2", "--gan-epochs=1"]
    )
    (row,) = table()
    assert 0 <= float(row["knn 10, end"]) <= 100
