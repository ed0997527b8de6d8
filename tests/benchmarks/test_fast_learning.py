"""The commands say what is meant; tables and curves come from the runs' files."""

import csv
import json

import pytest

from tfembed.recipes import config as configs
from tfembed.recipes import instdisc, invaspread

RECIPES = {"instdisc": instdisc, "invaspread": invaspread}


def read(command):
    recipe = RECIPES[command[2].rsplit(".", 1)[1]]
    config, _ = configs.parse(recipe.Config, "", "", list(map(str, command[3:])))
    return command[2].rsplit(".", 1)[1], config


def test_all_methods_see_as_many_views(script, tmp_path):
    module = script("fast_learning")
    runs = module.plan(module.parse([f"--runs={tmp_path}", "--seeds", "1"]))
    found = {name: read(command) for (name, _), (_, command) in runs.items()}
    for recipe, config in found.values():
        assert config.epochs * module.VIEWS[recipe] == 12
        assert (config.seed, config.limit, config.dim) == (1, 20000, 128)
    assert found["instdisc, random bank"][1].bank_init == "unit"
    assert found["instdisc, forward bank"][1].head_norm
    assert not found["invaspread, as in its paper"][1].head_norm


def test_the_ablation_changes_one_thing(script, tmp_path):
    module = script("fast_learning")
    options = module.parse([f"--runs={tmp_path}", "--ablation", "--seeds", "0"])
    runs = module.plan(options)
    found = {name: read(command)[1] for (name, _), (_, command) in runs.items()}
    whole = found["invaspread"]
    changed = {
        name: {
            field
            for field in invaspread.Config.__dataclass_fields__
            if getattr(config, field) != getattr(whole, field)
        }
        for name, config in found.items()
    }
    assert changed["without crop"] == {"crop_min"}
    assert changed["without jitter"] == {"brightness", "contrast"}
    assert changed["hardest half of the negatives"] == {"negative_share"}
    with pytest.raises(SystemExit):
        module.parse(["--views", "5"])


def test_table_and_picture(script, tmp_path, capsys):
    module = script("fast_learning")
    words = [f"--runs={tmp_path}", "--seeds", "0", "1", "--table"]
    for (_, seed), (folder, command) in module.plan(module.parse(words)).items():
        recipe, config = read(command)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"recipe": recipe}))
        (folder / "result.json").write_text('{"training_images": 1000}')
        with open(folder / "log.csv", "w") as file:
            writer = csv.DictWriter(file, ["epoch", "images_per_second", "knn_10"])
            writer.writeheader()
            for epoch in range(config.epochs):
                accuracy = (epoch + 1) / 100 + seed / 500
                writer.writerow(dict(zip(writer.fieldnames, (epoch, 100, accuracy))))
    module.main([*words, f"--picture={tmp_path / 'curves.png'}"])
    lines = {
        line.split("  ")[0].strip("| ").strip(): line
        for line in capsys.readouterr().out.splitlines()
    }
    (line,) = [line for name, line in lines.items() if "random bank" in name]
    # 12 epochs of 10 s; after n views n %, and 0.2 more by the second seed.
    for number in ("2.1", "4.1", "12.1", "0.2", "120"):
        assert number in line.replace("|", " ").split(), (number, line)
    (line,) = [
        line
        for name, line in lines.items()
        if "invaspread" in name and "paper" not in name
    ]
    assert "6.1" in line.replace("|", " ").split() and " 60" in line
    assert (tmp_path / "curves.png").stat().st_size > 10000
