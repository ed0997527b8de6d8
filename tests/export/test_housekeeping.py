"""Old versions come back under new numbers, are listed and removed."""

import json
import os
import shutil

import pytest

from tfembed.export import list_versions, prune_versions, rollback
from tfembed.export.__main__ import main
from tfembed.export.version_list import format_versions
from tfembed.export.versions import NewerVersionError


@pytest.fixture
def base(exported, tmp_path):
    """Versions 1, 2 and 3, of different sizes by their cards."""
    for number in (1, 2, 3):
        path = tmp_path / "base" / str(number)
        shutil.copytree(exported.path, path)
        card = json.loads((path / "card.json").read_text(encoding="utf-8"))
        card["gallery"]["size"] = 1000 + number
        (path / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return tmp_path / "base"


def visible(base):
    return sorted(path.name for path in base.iterdir() if path.name[0] != ".")


def card_of(path):
    return json.loads((path / "card.json").read_text(encoding="utf-8"))


def contents(path):
    return {
        each.relative_to(path).as_posix(): each.read_bytes()
        for each in path.rglob("*")
        if each.is_file()
    }


CARDS = {"card.json", "README.md", "assets.extra/tfembed.json"}


def test_the_version_before_comes_back(base):
    before = contents(base / "2")
    lines = []
    path = rollback(base, report=lines.append)
    assert path == base / "4" and visible(base) == ["1", "2", "3", "4"]
    new = contents(path)
    assert set(new) == set(before)
    assert {name for name in new if new[name] != before[name]} <= CARDS
    assert contents(base / "2") == before  # the old card was not written through
    card = card_of(path)
    assert card["gallery"]["size"] == 1002
    assert card["origin"]["made_by"] == "rollback"
    assert (card["origin"]["from_version"], card["origin"]["to_version"]) == (3, 2)
    assert lines[-1] == f"published version 4: {path}"
    pair = [base / number / "saved_model.pb" for number in ("2", "4")]
    assert os.path.samefile(*pair)
    assert not [each for each in base.iterdir() if "staging" in each.name]


def test_repeated_it_goes_further_back(base):
    rollback(base, report=None)
    path = rollback(base, report=None)
    assert card_of(path)["gallery"]["size"] == 1001
    assert card_of(path)["origin"]["to_version"] == 1
    with pytest.raises(ValueError, match="none before 1. Name one with --to"):
        rollback(base, report=None)
    path = rollback(base, to=3, report=None)
    assert path == base / "6" and card_of(path)["gallery"]["size"] == 1003
    assert card_of(rollback(base, report=None))["gallery"]["size"] == 1002


@pytest.mark.parametrize(("to", "words"), [(9, "not there"), (3, "the newest already")])
def test_versions_that_cannot_come_back(base, to, words):
    with pytest.raises(ValueError, match=f"Received: to={to}.*{words}.*1, 2, 3"):
        rollback(base, to=to, report=None)
    assert visible(base) == ["1", "2", "3"]


def test_files_are_copied_where_they_cannot_be_shared(base, monkeypatch):
    def refuse(*args):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    lines = []
    path = rollback(base, to=1, report=lines.append)
    assert "with copies" in lines[0]
    pair = [base / "1" / "saved_model.pb", path / "saved_model.pb"]
    assert not os.path.samefile(*pair)
    assert pair[0].read_bytes() == pair[1].read_bytes()


def test_a_version_published_meanwhile_stays_the_newest(base, monkeypatch):
    link = os.link

    def link_and_publish(*args):
        link(*args)
        (base / "4").mkdir(exist_ok=True)

    monkeypatch.setattr(os, "link", link_and_publish)
    with pytest.raises(NewerVersionError, match="Version 4 .* was published while"):
        rollback(base, report=None)
    assert visible(base) == ["1", "2", "3", "4"]


def test_what_comes_back_survives_the_removal_of_the_old(base):
    path = rollback(base, to=1, report=None)
    whole = contents(path)
    assert prune_versions(base, 1) == ([1, 2, 3], [])
    assert contents(path) == whole


def test_the_list(base, exported):
    shutil.rmtree(base / "2/variables")
    (base / "7").mkdir()  # by something else
    rollback(base / ".." / "base", to=1, report=None)
    found = list_versions(base)
    assert [each["number"] for each in found] == [1, 2, 3, 7, 8]
    assert found[0]["rows"] == found[4]["rows"] == 1001
    assert found[0]["head"] == "exact" and found[0]["recall"] == 1.0
    assert found[0]["encoder"] == card_of(exported.path)["encoder"]["sha256"]
    size = sum(len(each) for each in contents(base / "1").values())
    assert found[0]["bytes"] == size > found[1]["bytes"]
    assert found[3]["rows"] is found[3]["head"] is found[3]["origin"] is None
    assert found[4]["origin"]["to_version"] == 1
    lines = format_versions(found)
    assert len(lines) == 6 and lines[0].split()[:3] == ["number", "created", "rows"]
    assert "1,001" in lines[1] and lines[1].endswith("export")
    assert lines[4].split() == ["7", *["-"] * 5, "0", "kB", "-"]
    assert lines[5].endswith("rollback from 7 to 1")


def test_the_commands(base, capsys):
    assert main(["rollback", str(base), "--to", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"published version 4: {base / '4'}"
    assert main(["list", str(base), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["number"] for each in found] == [1, 2, 3, 4]
    assert main(["list", str(base)]) == 0
    assert "rollback from 3 to 1" in capsys.readouterr().out
    assert main(["prune", str(base), "--keep", "2"]) == 0
    assert capsys.readouterr().out == "removed 1, 2\n"
    assert visible(base) == ["3", "4"]
    assert main(["prune", str(base), "--keep", "0"]) == 1
    assert "error: `keep` must be a positive integer" in capsys.readouterr().err
    assert main(["rollback", str(base / "none")]) == 1
    assert "error: `model_base` must be a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "shown"),
    [(999_400, "999 kB"), (1_000_000, "1 MB"), (64_400_000, "64 MB"), (1e9, "1.00 GB")],
)
def test_sizes_have_a_unit_that_fits(count, shown):
    nothing = dict.fromkeys(("created", "rows", "head", "recall", "encoder", "origin"))
    version = {**nothing, "number": 1, "bytes": count, "stale_threshold": False}
    assert shown in " ".join(format_versions([version])[-1].split())
