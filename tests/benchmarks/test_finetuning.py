"""The runs are what the table says of them; the table is read from their files."""

import json

import numpy as np
import pytest

from tfembed.recipes import config as configs
from tfembed.recipes import instdisc, invaspread, supervised

RECIPES = {"instdisc": instdisc, "invaspread": invaspread, "supervised": supervised}


def planned(module, folder, *words):
    words = ["--photos", "photos", "--weights", "w.pth", "--runs", str(folder), *words]
    options = module.parse(words)
    return options, module.plan(options, "photos", "w.pth")


def read(command):
    recipe = RECIPES[command[2].rsplit(".", 1)[1]]
    return configs.parse(recipe.Config, "", "", list(map(str, command[3:])))[0]


def test_losses_differ_in_the_loss_and_what_it_needs(script, tmp_path):
    module = script("finetuning")
    _, runs = planned(module, tmp_path)
    found = {name: read(command) for (name, _), (_, command) in runs.items()}
    first = found["multi_similarity"]
    assert first.limit is None and first.weights == "w.pth" and first.split == "seen"
    for loss, config in found.items():
        assert config.loss == loss
        changed = {
            field
            for field in supervised.Config.__dataclass_fields__
            if getattr(config, field) != getattr(first, field)
        }
        assert changed <= {"loss", "loss_options", "proxy_rate"}


def test_parts(script, tmp_path):
    module = script("finetuning")
    _, unlabelled = planned(module, tmp_path, "--part", "unlabelled", "--seeds", "3")
    for (recipe, seed), (_, command) in unlabelled.items():
        assert command[2] == f"tfembed.recipes.{recipe}" and seed == 3
        assert read(command).split == "seen" and read(command).epochs == 3
    _, unseen = planned(module, tmp_path, "--part", "unseen", "--rows", "sup_con")
    ((_, command),) = unseen.values()
    config = read(command)
    assert config.split == "unseen" and config.loss == "sup_con"
    for classes in (5, 10):  # of five a batch cannot have eight
        each = supervised.samples_of_a_class(config, classes)
        assert config.batch_size // each <= classes
    with pytest.raises(SystemExit):
        planned(module, tmp_path, "--part", "unseen", "--rows", "instdisc")


def test_a_row_is_read_from_the_files_of_its_run(script, tmp_path):
    module = script("finetuning")
    options, runs = planned(module, tmp_path, "--rows", "sup_con", "--seeds", "0")
    ((folder, _),) = runs.values()
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("epoch,knn_10\n0,nan\n1,0.75\n")
    np.savez(
        folder / "gallery.npz", embeddings=np.eye(3, dtype="float32"), labels=[0, 1, 2]
    )
    np.savez(
        folder / "queries.npz",
        embeddings=np.float32([[0.9, 0.1, 0], [0.1, 0.9, 0]]),
        labels=[0, 2],
    )
    rows = [
        {"representation": "softmax classifier", "knn_10": 0.8},
        {"representation": "trained encoder", "knn_10": 0.875},
    ]
    result = {"protocol": "seen", "table": rows, "seconds": 90, "epochs": 4}
    result["seconds_are_of"] = "epochs 1 to 4"
    (folder / "result.json").write_text(json.dumps(result))
    row = module.row_of(folder, result)
    assert row["shares"] == dict(zip(module.COLUMNS["seen"], (0.75, 0.875, 0.5)))
    assert row["softmax"] == 0.8 and row["minutes"] == "1.5"
    assert json.loads(json.dumps(row)) == row


def test_the_table_has_means_and_ranges_of_the_seeds(script):
    module = script("finetuning")
    rows = {
        ("sup_con", seed): {
            "shares": dict.fromkeys(module.COLUMNS["seen"], share),
            "softmax": 0.8,
            "minutes": f"{seed}.5",
        }
        for seed, share in ((1, 0.75), (0, 0.5))
    }
    before = dict.fromkeys(module.COLUMNS["seen"], 0.5)
    *_, first, second, third = module.lines_of("labelled", rows, before)
    assert first == "| frozen | | 0.500 | 0.500 | 0.500 | |"
    cell = "0.625 (0.500 to 0.750)"
    assert second == f"| sup_con | 0, 1 | {cell} | {cell} | {cell} | 0.5, 1.5 |"
    assert third.startswith("| softmax classifier, beside it | | | 0.800 (")


def test_recorded_runs_are_not_run_again(script, tmp_path):
    module = script("finetuning")
    _, runs = planned(
        module, tmp_path / "runs", "--rows", "sup_con", "--seeds", "0", "1"
    )
    record = module.Record(tmp_path / "kept" / "rows.json")
    assert record.missing(runs) == runs
    name = record.name(runs["sup_con", 0][0])
    record.write({name: {"minutes": "1.5"}})
    again = module.Record(tmp_path / "kept" / "rows.json")
    assert list(again.missing(runs)) == [("sup_con", 1)]
    assert again.rows[name]["minutes"] == "1.5"
    assert set(again.rows[name]["made"]) == {"processor", "cores", "tensorflow"}
    again.write({name: {"minutes": "9"}})  # what is there stays
    assert module.Record(again.path).rows[name]["minutes"] == "1.5"


def test_what_is_recorded_belongs_to_runs_that_can_be_made(script, tmp_path):
    module = script("finetuning")
    for name, row in module.Record(module.RECORD).rows.items():
        group, run = name.split("/")
        part, size, epochs = group.removesuffix("epochs").split("-")
        loss, seed = run.rsplit("-seed", 1)
        words = ["--part", part, "--size", size.removesuffix("px"), "--rows", loss]
        _, runs = planned(module, tmp_path, *words, "--epochs", epochs, "--seeds", seed)
        assert [module.Record.name(folder) for folder, _ in runs.values()] == [name]
        assert set(row) == {"made", "minutes", "shares", "softmax"}
