"""The script that changes the package a line at a time: what it draws and finds."""

import json
import sys

import mutants
import pytest

SOURCE = '''\
"""A module."""

__all__ = ["limit"]


def limit(values, most=3):
    """Keeps some."""
    kept = []
    for value in values:
        if value < most and value not in kept:
            kept.append(value)
    kept.sort()
    kept.reverse()
    return kept, True, 0.5, "a < 1"
'''


def test_every_kind_is_found_and_is_one_change():
    found = mutants.mutants_of("tfembed/room/limit.py", SOURCE)
    shown = {(mutant.kind, *mutant.shown) for mutant in found}
    condition = "if value < most and value not in kept:"
    last = 'return kept, True, 0.5, "a < 1"'
    assert shown == {
        ("constant", "def limit(values, most=3):", "def limit(values, most=4):"),
        ("comparison", condition, condition.replace("<", "<=")),
        ("comparison", condition, condition.replace("not in", "in")),
        ("dropped call", "kept.append(value)", "pass"),
        ("dropped call", "kept.sort()", "pass"),
        ("dropped call", "kept.reverse()", "pass"),
        (
            "swapped statements",
            "kept.sort() kept.reverse()",
            "kept.reverse() kept.sort()",
        ),
        ("constant", last, last.replace("True", "False")),
        ("constant", last, last.replace("0.5", "1.0")),
    }
    for mutant in found:
        compile(mutant.apply(SOURCE), "limit.py", "exec")
        assert mutant.room == "room"


def test_letters_of_more_than_one_byte_move_nothing():
    source = 'name = "Größe, 大きさ"; wide = len(name) > 4\n'
    (comparison,) = [
        mutant
        for mutant in mutants.mutants_of("tfembed/x.py", source)
        if mutant.kind == "comparison"
    ]
    assert comparison.apply(source) == source.replace(">", ">=")
    assert comparison.room == "x"


def test_the_package_has_enough_of_each_room():
    rooms = mutants.all_mutants()
    drawn = mutants.draw(rooms, seed=0, count=80, per_room=3)
    assert drawn == mutants.draw(rooms, seed=0, count=80, per_room=3)
    assert drawn != mutants.draw(rooms, seed=1, count=80, per_room=3)
    assert len(drawn) >= 80 and len(set(drawn)) == len(drawn)
    for room, own in rooms.items():
        assert sum(mutant.room == room for mutant in drawn) >= min(3, len(own))


def test_a_change_elsewhere_leaves_the_draw_as_it_was():
    path = "tfembed/room/limit.py"
    before = {"room": mutants.mutants_of(path, SOURCE)}
    moved = SOURCE.replace('"""A module."""', '"""A module."""\n\nFIRST = [1, 2]')
    after = {"room": mutants.mutants_of(path, moved)}
    for seed in range(5):
        drawn = mutants.draw(after, seed, count=6, per_room=1)
        old = [each for each in drawn if "FIRST" not in each.shown[0]]
        kept = mutants.draw(before, seed, count=len(old), per_room=1)
        assert {each.shown for each in old} == {each.shown for each in kept}
        assert len(old) >= 4


def test_every_file_has_tests_that_are_asked():
    paths = {mutant.path for own in mutants.all_mutants().values() for mutant in own}
    assert [path for path in sorted(paths) if not _tests_of(path)] == []
    first = _tests_of("tfembed/formats/embeddings.py")[0]
    assert first == "tests/formats/test_embeddings.py"


def _tests_of(path):
    mutant = mutants.Mutant(path, "constant", 1, 0, 0, "", ("", ""))
    return mutants.tests_for(mutant)


def test_equivalent_mutants_stand_in_the_package_and_have_a_reason():
    listed = json.loads(mutants.EQUIVALENT.read_text(encoding="utf-8"))
    for each in listed:
        assert set(each) == {"path", "before", "after", "reason"} and each["reason"]
        source = (mutants.ROOT / each["path"]).read_text(encoding="utf-8")
        shown = {mutant.shown for mutant in mutants.mutants_of(each["path"], source)}
        assert (each["before"], each["after"]) in shown, "it is no longer there: remove"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one module, whose tests see one of its two comparisons."""
    root = tmp_path / "project"
    for name in mutants.COPIED:
        (root / name).mkdir(parents=True)
    (root / "tfembed/room").mkdir()
    (root / "tfembed/room/near.py").write_text(
        "def near(a, b):\n    return a < b\n\n\ndef never(a):\n    return a > 1\n"
    )
    (root / "tests/test_near.py").write_text(
        "import sys\nsys.path.insert(0, '.')\nfrom tfembed.room.near import near\n\n\n"
        "def test_near():\n    assert not near(1, 1)\n"
    )
    monkeypatch.setattr(mutants, "ROOT", root)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # where the real one may be
    monkeypatch.setattr(mutants, "all_mutants", lambda: {"room": _comparisons(root)})
    return root


def _comparisons(root):
    path = "tfembed/room/near.py"
    found = mutants.mutants_of(path, (root / path).read_text())
    return [mutant for mutant in found if mutant.kind == "comparison"]


def test_killed_and_survived_and_not_run_twice(project, tmp_path, capsys, monkeypatch):
    work = tmp_path / "work"
    command = ["--work", str(work), "--count", "2", "--jobs", "1"]
    monkeypatch.setattr(mutants, "tests_for", lambda mutant: ["tests/test_near.py"])
    assert mutants.main(command) == 1
    said = capsys.readouterr().out
    assert "1 of 2 killed" in said and "survived: tfembed/room/near.py:6" in said
    assert "- return a > 1\n  + return a >= 1" in said
    source = (work / "copy-0/tfembed/room/near.py").read_text()
    assert source == (project / "tfembed/room/near.py").read_text()
    monkeypatch.setattr(sys, "executable", "/nowhere")  # nothing is run again
    assert mutants.main(command) == 1
    assert "1 of 2 killed" in capsys.readouterr().out
    survivors = [*command[:1], str(tmp_path / "other"), *command[2:]]
    assert mutants.main([*survivors, "--survivors-of", str(work), "--list"]) == 0
    said = capsys.readouterr().out
    assert "1 of them survived" in said and "near.py:6" in said and ":2" not in said
