"""Flags, config files, and what is refused; without training."""

import ast
import dataclasses
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tfembed.recipes import config as configs
from tfembed.recipes.__main__ import recipes
from tfembed.recipes.instdisc import Config

ROOT = Path(__file__).resolve().parents[2]


def parse(*argv):
    return configs.parse(Config, "instdisc", "text", [str(each) for each in argv])


def test_no_flag_is_the_demo():
    config, run_dir = parse()
    assert config == Config()
    assert run_dir is None
    assert (config.dataset, config.limit, config.epochs) == ("fashion_mnist", 20000, 12)


def test_every_field_is_a_flag():
    parser = configs.build_parser(Config, "instdisc", "text")
    flags = {flag for action in parser._actions for flag in action.option_strings}
    for field in dataclasses.fields(Config):
        assert "--" + field.name.replace("_", "-") in flags
        assert field.metadata["help"]


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--num-negatives", "64"], "num_negatives", 64),
        (["--limit", "none"], "limit", None),
        (["--limit", "50"], "limit", 50),
        (["--normalizer", "first_batch"], "normalizer", "first_batch"),
        (["--normalizer", "2.5e6"], "normalizer", 2.5e6),
        (["--no-head-norm"], "head_norm", False),
        (["--strict"], "strict", True),
        (["--temperature", "0.07"], "temperature", 0.07),
        (["--dataset", "folder:/a b"], "dataset", "folder:/a b"),
    ],
)
def test_flags(argv, field, value):
    config, _ = parse(*argv)
    assert getattr(config, field) == value
    assert config == dataclasses.replace(Config(), **{field: value})


def test_flags_override_a_config_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from tfembed.recipes.instdisc import Config\n"
        "config = Config(epochs=3, dim=16)\n"
    )
    config, run_dir = parse("--config", path, "--dim", 8, "--run-dir", "there")
    assert (config.epochs, config.dim, run_dir) == (3, 8, "there")


def test_a_runs_config_json_repeats_it(tmp_path):
    config, _ = parse("--epochs", 3, "--no-head-norm", "--limit", "none")
    path = tmp_path / "config.json"
    settings = {"recipe": "instdisc", **dataclasses.asdict(config)}
    path.write_text(json.dumps(settings))
    assert parse("--config", path)[0] == config


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epoch-count", "3"], "unrecognized arguments: --epoch-count"),
        (["--objective", "softmax"], "choose from 'full', 'nce'"),
        (["--temperature", "0"], "`temperature` must be above 0"),
        (["--temperature", "warm"], "invalid float value: 'warm'"),
        (["--limit", "ten"], "must be int. Received: 'ten'"),
        (["--batch-size", "0"], "`batch_size` must be at least 1"),
        (["--crop-min", "1.5"], "`crop_min` must be at least 0 and at most 1"),
        (["--momentum", "1"], "`momentum` must be at least 0 and below 1"),
        (["--config", "absent.py"], "which is not a file"),
    ],
)
def test_a_wrong_command_line_exits_with_a_sentence(argv, message, capsys):
    with pytest.raises(SystemExit) as error:
        parse(*argv)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_unknown_keys_and_values_of_a_file_list_the_known_ones(tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_text('{"epoch": 3}')
    with pytest.raises(SystemExit):
        parse("--config", path)
    text = capsys.readouterr().err
    assert "Unknown keys: epoch. Did you mean epochs" in text
    assert "Known ones: dataset, data_dir" in text
    path.write_text('{"objective": "softmax"}')
    with pytest.raises(SystemExit):
        parse("--config", path)
    assert "must be one of full, nce, infonce, parametric" in capsys.readouterr().err
    path.write_text("{")
    with pytest.raises(SystemExit):
        parse("--config", path)
    assert "is not JSON" in capsys.readouterr().err
    path = tmp_path / "mine.py"
    path.write_text("configuration = 3")
    with pytest.raises(SystemExit):
        parse("--config", path)
    assert "must define `config`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path", sorted((ROOT / "recipes").glob("*.py")), ids=lambda path: path.stem
)
def test_every_run_file_is_a_config_and_says_what_to_expect(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    (recipe,) = set(re.findall(r"python -m (tfembed\.recipes\.\w+)", text))
    config = configs.load(importlib.import_module(recipe).Config, path)
    assert f"--config recipes/{path.name}" in text
    assert path.name in (ROOT / "recipes" / "README.md").read_text()
    run_here = path.stem.endswith(("fashion_mnist", "60k", "glyphs"))
    assert run_here != ("Not run here" in text)
    if "Not run here" in text:
        assert "arxiv.org" in text and "GPU" in text and config.limit is None


def test_recipes_are_listed_with_a_line():
    found = recipes()
    assert found["instdisc"].startswith("Instance discrimination")
    output = subprocess.run(
        [sys.executable, "-m", "tfembed.recipes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "python -m tfembed.recipes.instdisc" in output
