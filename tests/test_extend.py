"""docs/extend.md is done as it stands: its files written, its commands run.

So a part of each kind is made from the page alone, outside of the package.
"""

import json
import os
import re
import subprocess
import sys

import pytest
from shared import written_once
from test_docs import ROOT, blocks, commands

PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
# Part: its heading, its file, and the name that pyproject.toml gives it.
PARTS = {
    "losses": ("A loss", "my_loss.py", "soft_contrast"),
    "miners": ("A miner", "my_miner.py", "near"),
    "backbones": ("A backbone", "my_backbone.py", "two_layers"),
    "sources": ("An image source", "my_source.py", "stripes"),
    "recipes": ("A recipe", "my_recipe.py", "contrast"),
    "heads": ("A search head", "my_head.py", "shortlist"),
}
PROJECT = "pyproject.toml"


def files_of(text):
    """Returns `{name: content}` of the files that a part of the page has one write."""
    found = {}
    for block in blocks(text):
        name = re.match(r"# (\w+\.py)\n", block.text)
        if block.language == "python" and name:
            found[name[1]] = block.text
        elif block.language == "toml":
            found[PROJECT] = block.text
    return found


def section(heading):
    """Returns the text of the page below a heading, to the next of its level."""
    return re.split(r"(?m)^## ", PAGE.partition(f"\n## {heading}\n")[2])[0]


def entry_points(project):
    """Returns `{group: {name: value}}` of a pyproject.toml."""
    pattern = r'\[project\.entry-points\."([\w.]+)"\]\n((?:\w+ = ".*"\n)+)'
    return {
        group: dict(re.findall(r'(\w+) = "(.*)"', lines))
        for group, lines in re.findall(pattern, project)
    }


def execute(words, folder, status=0):
    """Runs a command in a folder, by this Python; returns what it says."""
    here = {"python": [sys.executable], "pytest": [sys.executable, "-m", "pytest"]}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [*here[words[0]], *words[1:]],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"[-3000:]
    return done.stdout + done.stderr


def write(folder):
    """Does all that the page says, and keeps what was said in `said.json`."""
    for name, text in files_of(PAGE).items():
        (folder / name).write_text(text, encoding="utf-8")
    said = {}
    for block in blocks(PAGE):
        if block.language == "bash":
            for words in commands(block.text):
                said[" ".join(words)] = execute(words, folder)
        elif block.language == "python" and not re.match(r"# \w+\.py\n", block.text):
            (folder / "asking.py").write_text(block.text, encoding="utf-8")
            said["asking"] = execute(["python", "asking.py"], folder)
    (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder in which the page was done, and what was said."""
    folder = written_once(tmp_path_factory, "extend", write)
    return folder, json.loads((folder / "said.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_one_file_and_its_name_another(part):
    heading, file, name = PARTS[part]
    files = [each for each in files_of(section(heading)) if each[:5] != "test_"]
    assert files == [file]
    named = entry_points(files_of(PAGE)[PROJECT])[f"tfembed.{part}"]
    assert named[name].split(":")[0] == file[: -len(".py")]


def test_each_kind_is_trained_measured_reported_and_served(done):
    folder, said = done
    config = json.loads((folder / "runs" / "stripes" / "config.json").read_text())
    kept = {key: config[key] for key in ("dataset", "loss", "backbone")}
    assert kept == {
        "dataset": "my_source:stripes",
        "loss": "my_loss:SoftContrast",
        "backbone": "my_backbone:two_layers",
    }
    config = json.loads((folder / "runs" / "contrast" / "config.json").read_text())
    assert (config["recipe"], config["temperature"]) == ("contrast", 0.3)
    assert "contrast" in (folder / "runs" / "contrast.html").read_text("utf-8")
    embedded = next(text for words, text in said.items() if "tfembed.embed" in words)
    assert "160 embeddings of 16 numbers" in embedded
    for version in ("1", "2"):
        path = folder / "models" / "stripes" / version / "card.json"
        head = json.loads(path.read_text(encoding="utf-8"))["head"]
        assert head["head"] == "my_head:Shortlist" and head["numbers_at_first"] == 8
        assert head["measured"] and head["recall_at_k"] > 0.5
    assert "my_head:Shortlist" in said["python -m tfembed.export list models/stripes"]


def test_what_is_gone_is_missed(done, tmp_path):
    folder, _ = done
    words = ["python", "-m", "tfembed.export", "gallery", f"{folder}/models/stripes"]
    said = execute([*words, "--vote-k", "3"], tmp_path, status=1)
    assert "error: --head must name a module" in said
    assert "there is no module 'my_head'" in said and "PYTHONPATH" in said


def test_names_of_a_package_are_as_good(done, tmp_path):
    folder, _ = done
    found = tmp_path / "my_parts-1.0.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Name: my-parts\nVersion: 1.0\n")
    lines = []
    for group, names in entry_points(files_of(PAGE)[PROJECT]).items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in names.items())]
    (found / "entry_points.txt").write_text("\n".join(lines) + "\n")
    code = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(folder)!r}]
from tfembed.backbones import build_backbone
from tfembed.data import load_images
from tfembed.export import check_head
from tfembed.recipes.__main__ import main
from tfembed.recipes.objectives import MINERS, find_loss
from tfembed.recipes.supervised import Config

names = dict(dataset="stripes", backbone="two_layers", loss="soft_contrast")
config = Config(**names, miner="near")
assert not [name for name in sys.modules if name.startswith("my_")]
print(load_images(config.dataset).class_names)
print(build_backbone(config.backbone, (16, 16, 1)).output_shape)
print(find_loss(config.loss), MINERS[config.miner])
check_head("shortlist")
main()
"""
    said = execute(["python", "-c", code], tmp_path)
    assert "('one', 'two', 'three', 'four')" in said and "(None, 32)" in said
    assert "my_loss.SoftContrast" in said and "function near" in said
    assert re.search(r"python -m my_recipe +contrast, of another package", said)
