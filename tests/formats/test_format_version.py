"""Each format has a number: written, absent in the first, and refused where newer."""

import functools
import json

import numpy as np
import pytest
from shared import table_of

from tfembed.data import read_embeddings
from tfembed.evaluate.subject import find_subject
from tfembed.export import list_versions, read_card
from tfembed.export.card import write_card
from tfembed.export.run_directory import read_gallery, read_queries, read_run
from tfembed.export.run_facts import read_facts
from tfembed.formats.format_version import EMBEDDINGS, EXPORT, RUN, check_format
from tfembed.formats.run_config import run_resize
from tfembed.formats.shard_writer import open_shards
from tfembed.recipes import config, instdisc
from tfembed.recipes.run_directory import RunDirectory
from tfembed.report import run as report_run

ROWS = np.eye(4, dtype=np.float32)
SETTINGS = instdisc.Config(dataset="synthetic", epochs=2)


def test_what_a_number_may_be():
    assert check_format({}, 3, "x") == check_format([], 3, "x") == 1
    assert [check_format({"format_version": n}, 3, "x") for n in (1, 2, 3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="'x'.*format 3 at most.*Received: format 4"):
        check_format({"format_version": 4}, 3, "x")
    for wrong in (0, -1, True, 1.0, "1", None):
        with pytest.raises(ValueError, match="an integer from 1. Received"):
            check_format({"format_version": wrong}, 3, "x")


def test_the_page_has_these_numbers():
    rows = table_of("docs/architecture.md", "## Formats")
    numbers = {name[1:].partition("]")[0]: int(number) for name, number, _ in rows}
    assert numbers == {"run": RUN, "export": EXPORT, "embeddings": EMBEDDINGS}


def renumbered(path, number):
    """Writes another number into a JSON file, or none."""
    content = json.loads(path.read_text())
    content.pop("format_version")
    content.update({} if number is None else {"format_version": number})
    path.write_text(json.dumps(content))


@pytest.fixture
def run(tmp_path):
    """What a finished run has, but for its encoder, which nobody gets to read."""
    directory = RunDirectory(tmp_path / "run", "instdisc", SETTINGS)
    directory.write_npz(
        "gallery.npz", embeddings=ROWS, labels=[0, 0, 1, 1], ids=list("abcd")
    )
    directory.write_npz(
        "queries.npz", embeddings=ROWS[:2], labels=[0, 0], ids=["x", "y"]
    )
    directory.write_json("result.json", {"epochs": 2})
    directory.write_bytes("model.keras", b"")
    directory.close()
    return directory.path


READERS = {
    "recipe": lambda run: RunDirectory(run, "instdisc", SETTINGS).close(),
    "--config": lambda run: config.load(instdisc.Config, run / "config.json"),
    "report": report_run.read_run,
    "export": read_run,
    "facts": read_facts,
    "resize": run_resize,
    "evaluate": lambda run: find_subject(str(run)),
    "gallery": read_embeddings,
    "queries": lambda run: read_embeddings(run / "queries.npz"),
}


@pytest.mark.parametrize("reader", READERS)
def test_runs(run, reader):
    """This format and that of before there was a number are read, no newer one."""
    path = run / "config.json"
    assert json.loads(path.read_text())["format_version"] == RUN
    READERS[reader](run)
    renumbered(path, RUN + 1)
    found = f"format {RUN} at most.*Received: format {RUN + 1}"
    with pytest.raises(ValueError, match=f"config.json.*{found}"):
        READERS[reader](run)
    assert json.loads(path.read_text())["format_version"] == RUN + 1
    renumbered(path, None)
    READERS[reader](run)


def test_a_newer_run_is_not_taken_up_and_its_number_is_no_setting(run):
    new = RunDirectory(None, "instdisc", SETTINGS, parent=run.parent / "runs")
    new.close()
    renumbered(new.path / "config.json", RUN + 1)
    other = RunDirectory(None, "instdisc", SETTINGS, parent=run.parent / "runs")
    other.close()
    assert (new.path.name[-3:], other.path.name[-3:]) == ("001", "002")
    assert "format_version" not in report_run.read_run(run).config


def test_exports(tmp_path):
    write_card(tmp_path / "1", {"k": 3, "gallery": {"size": 5}})
    (tmp_path / "1" / "saved_model.pb").touch()
    for name in ("card.json", "assets.extra/tfembed.json"):
        card = json.loads((tmp_path / "1" / name).read_text())
        assert card["format_version"] == EXPORT
    renumbered(tmp_path / "1" / "card.json", None)
    assert read_card(tmp_path / "1")["format_version"] == 1
    assert list_versions(tmp_path)[0]["rows"] == 5
    # Whoever writes a card anew keeps its number: the graph beside it has not changed.
    write_card(tmp_path / "1", {"format_version": EXPORT + 1, "gallery": {"size": 5}})
    found = f"format {EXPORT} at most.*Received: format {EXPORT + 1}"
    with pytest.raises(ValueError, match=f"card.json.*{found}"):
        read_card(tmp_path / "1")
    assert list_versions(tmp_path)[0]["rows"] is None


@pytest.mark.parametrize("name", ["out", "out.npz"])
def test_embeddings(tmp_path, name):
    def write():
        identity = {"format": "npz", "dim": 4}
        with open_shards(tmp_path / name, identity, {"class_names": []}) as shards:
            if not shards.finished:
                shards.add(list("abcd"), [0] * 4, ROWS)
            return shards.finish()

    def number(value):
        if name == "out":
            renumbered(tmp_path / name / "manifest.json", value)
            return
        with np.load(tmp_path / name) as archive:
            arrays = {key: archive[key] for key in archive.files}
        manifest = json.loads(str(arrays["manifest"]))
        manifest.pop("format_version")
        manifest.update({} if value is None else {"format_version": value})
        np.savez(tmp_path / name, **{**arrays, "manifest": json.dumps(manifest)})

    assert write().manifest["format_version"] == EMBEDDINGS
    number(EMBEDDINGS + 1)
    found = f"format {EMBEDDINGS} at most.*Received: format {EMBEDDINGS + 1}"
    readers = [read_embeddings]
    if name == "out.npz":
        readers += [read_gallery, read_queries, lambda path: find_subject(str(path))]
    uses = [write, *(functools.partial(read, tmp_path / name) for read in readers)]
    for use in uses:
        with pytest.raises(ValueError, match=found):
            use()
    number(None)
    assert len(read_embeddings(tmp_path / name).load().ids) == 4
    write()
