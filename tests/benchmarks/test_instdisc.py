"""The commands say what is meant, one tiny run is real, tables come from results."""

import json

import pytest

from tfembed.recipes import config as configs
from tfembed.recipes.instdisc import Config

TINY = ["--limit=24", "--test-limit=12", "--epochs=1", "--dataset=synthetic"]


def read(command):
    assert command[1:3] == ["-m", "tfembed.recipes.instdisc"]
    return configs.parse(Config, "instdisc", "", command[3:])


def test_the_demo_is_the_recipe_without_flags(script, tmp_path):
    module = script("instdisc")
    runs = module.plan(module.parse([f"--runs={tmp_path}"]))
    assert [seed for _, seed in runs] == [0, 1, 2]
    for (_, seed), (folder, command) in runs.items():
        config, run_dir = read(list(map(str, command)))
        assert config == Config(seed=seed)
        assert run_dir == str(folder)
    assert len({folder for folder, _ in runs.values()}) == 3


def test_the_ablation_adds_one_factor_at_a_time(script, tmp_path):
    module = script("instdisc")
    options = module.parse([f"--runs={tmp_path}", "--ablation", "--seeds", "4"])
    found = {
        variant: read(list(map(str, command)))[0]
        for (variant, _), (_, command) in module.plan(options).items()
    }
    for config in found.values():
        assert (config.seed, config.limit, config.epochs) == (4, 20000, 12)
        assert config.knn_every == 12 and not config.linear_probe
    for kind in ("full", "nce"):
        paper = found[f"{kind}, as in the paper"]
        assert paper.objective == kind
        assert (paper.bank_init, paper.head_norm) == ("unit", False)
        assert (paper.temperature, paper.num_negatives) == (0.07, 4096)
        assert found[f"{kind} + forward bank"].bank_init == "forward"
        assert found[f"{kind} + head norm"].head_norm
    assert found["nce, as in the paper"].normalizer == "first_batch"
    everything = found["nce + all three"]
    assert everything.normalizer == "moving_average" and everything.head_norm
    assert everything.bank_init == "forward"
    differences = {
        name: sum(
            getattr(config, field) != getattr(found[f"{kind}, as in the paper"], field)
            for field in Config.__dataclass_fields__
        )
        for name, config in found.items()
        for kind in name.split(" ")[:1]
        if name.count("+") == 1
    }
    assert set(differences.values()) == {1, 3}  # "all three" are three
    assert [name for name, count in differences.items() if count == 3] == [
        "nce + all three"
    ]


@pytest.mark.slow
def test_one_tiny_run_and_its_table_again(script, table, tmp_path):
    module = script("instdisc")
    words = [*TINY, "--seeds=0", "--pin", f"--runs={tmp_path}"]
    module.main(words)
    first = table()
    assert [row["representation"] for row in first] == [
        f"seed 0: {name}"
        for name in (
            "raw pixels",
            "raw pixels - mean",
            "untrained network",
            "trained encoder",
        )
    ]
    assert float(first[-1]["minutes"]) > 0
    assert 0 <= float(first[-1]["knn 10"]) <= 100
    (result,) = tmp_path.glob("*/*/result.json")
    changed = json.loads(result.read_text())
    changed["table"][-1]["knn_10"] = 0.123
    result.write_text(json.dumps(changed))
    module.main(words)  # nothing is trained: the changed number is still there
    assert table()[-1]["knn 10"] == "12.3"


def test_margins_and_means(script, table, tmp_path, capsys):
    module = script("instdisc")
    words = ["--ablation", "--table", "--seeds", "0", "1", f"--runs={tmp_path}"]
    for (variant, seed), (folder, _) in module.plan(module.parse(words)).items():
        if variant != "the demo":
            continue
        folder.mkdir(parents=True)
        share = 0.8 + 0.1 * seed
        row = {"representation": "trained encoder", "knn_10": share, "knn_200": 0.5}
        result = {
            "epochs": 12,
            "seconds": 90,
            "seconds_are_of": "epochs 1 to 12",
            "table": [row],
        }
        (folder / "result.json").write_text(json.dumps(result))
    module.main(words)
    text = capsys.readouterr().out
    assert "2 of 24 runs finished" in text
    cells = next(line for line in text.splitlines() if "| the demo" in line)
    assert [c.strip() for c in cells.strip("|").split("|")] == [
        *("the demo", "2", "85.0", "10.0", "50.0", "0.0", "1.5")
    ]


@pytest.mark.slow
def test_a_failed_run_fails_the_benchmark(script, tmp_path, capsys):
    module = script("instdisc")
    words = ["--dataset=nothing", "--seeds=0", f"--runs={tmp_path}"]
    with pytest.raises(SystemExit):
        module.main(words)
    assert "FAILED" in capsys.readouterr().err
