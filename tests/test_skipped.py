"""Which tests run at a commit, and the list of those that ran nowhere."""

import json

import skipped
import turns


class Item:
    """As much of a test as the choice looks at."""

    def __init__(self, name, marks):
        self.nodeid, self.marks, self.reason = name, marks, None

    def get_closest_marker(self, name):
        return self.marks.get(name)

    def add_marker(self, mark):
        self.reason = mark.kwargs["reason"]


class Mark:
    """A marker with its arguments."""

    def __init__(self, *args):
        self.args = args


def ran(**options):
    slow, thin = {"slow": Mark()}, {"thin": Mark(3)}
    items = [
        Item("plain", {}),
        *(Item(f"many[{n}]", slow) for n in range(30)),
        Item("few[0]", {}),
        *(Item(f"few[{n}]", slow) for n in (1, 2)),
        Item("alone", slow),
        *(Item(f"thin[{n}]", thin) for n in range(7)),
        *(Item(f"two[{n}]", thin) for n in range(2)),
    ]
    turns.choose(items, **{"turn": 0, **options})
    return {item.nodeid for item in items if item.reason is None}, items


def test_slow_tests_run_when_asked_for():
    assert len(ran(everything=True)[0]) == 44
    some, items = ran()
    assert some == {"plain", "few[0]", "thin[0]", "thin[3]", "thin[6]", "two[0]"}
    assert {item.reason.split(":")[0] for item in items if item.reason} == {
        "slow",
        "thin",
    }


def test_of_very_many_slow_tests_some_run():
    items = [Item(f"many[{n}]", {"slow": Mark(), "thin": Mark(2)}) for n in range(700)]
    turns.choose(items, each_kind=True, turn=0)
    assert sum(item.reason is None for item in items) == 20


def test_each_kind_runs_at_every_commit_and_all_in_time():
    seen = set()
    for turn in range(100, 112):
        some, _ = ran(each_kind=True, turn=turn)
        kinds = {name.split("[")[0] for name in some}
        assert kinds == {"plain", "many", "few", "alone", "thin", "two"}
        assert 2 <= sum(name.startswith("many") for name in some) <= 3
        seen |= some
    assert seen == ran(everything=True)[0]


def test_two_stacks_share_what_runs_at_a_commit_and_each_runs_all_in_time():
    slow, thin = {"slow": Mark()}, {"thin": Mark(3)}
    names = {
        **{f"tests/ops/test_a.py::one[{n}]": {} for n in range(9)},
        "tests/ops/test_a.py::two": {},
        "tests/ops/test_b.py::one": {},
        "tests/layers/test_c.py::few[0]": {},
        "tests/layers/test_c.py::few[1]": {},
        "tests/layers/test_c.py::slow": slow,
        **{f"tests/layers/test_c.py::many[{n}]": {} for n in range(9)},
        **{f"tests/layers/test_c.py::thin[{n}]": thin for n in range(24)},
    }

    def ran(turn, share):
        items = [Item(name, marks) for name, marks in names.items()]
        turns.choose(items, each_kind=True, turn=turn, share=share)
        return {item.nodeid for item in items if item.reason is None}

    seen = [set(), set()]
    for turn in range(100, 160):
        first, second = ran(turn, 0), ran(turn, 1)
        assert first | second == ran(turn, None)
        assert {name.split("::")[1] for name in first & second} == {"few[0]", "few[1]"}
        for file in ("test_a.py", "test_b.py"):  # whole, with the fixtures it makes
            assert not any(file in name for name in first) or not any(
                file in name for name in second
            )
        seen[0] |= first
        seen[1] |= second
    assert seen[0] == seen[1] == set(names)


def test_the_turn_is_the_number_of_commits():
    assert turns.number_of_commits() == turns.number_of_commits() >= 0


def outcomes(path, *records):
    keys = ("test", "outcome", "reason")
    lines = [json.dumps(dict(zip(keys, record))) for record in records]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_what_ran_elsewhere_has_run(tmp_path, capsys):
    first = outcomes(
        tmp_path / "first",
        ("a.py::one", "passed"),
        ("a.py::two", "skipped", "there is no chromium with its chromedriver"),
        ("b.py", "skipped", "could not import 'apache_beam'"),
        ("c.py::slow", "skipped", "slow: another commit's turn, or --runslow"),
        ("d.py", "skipped", "TensorFlow Addons cannot be imported with Keras 3"),
    )
    second = outcomes(
        tmp_path / "second",
        ("a.py::two", "failed"),
        ("b.py::one", "passed"),
    )
    assert skipped.main([first, second]) == 0
    said = capsys.readouterr().out
    assert "1 slow tests wait" in said and "NOT RUN" not in said
    assert (
        "skipped: TensorFlow Addons cannot be imported with Keras 3\n    d.py" in said
    )


def test_what_ran_nowhere_fails_by_name(tmp_path, capsys):
    only = outcomes(
        tmp_path / "only",
        ("a.py::two", "skipped", "there is no chromium with its chromedriver"),
        ("b.py", "skipped", "could not import 'apache_beam'"),
    )
    assert skipped.main([only]) == 1
    said = capsys.readouterr().out
    assert "NOT RUN: there is no chromium with its chromedriver\n    a.py::two" in said
    assert "2 tests ran nowhere" in said


def test_outcomes_are_written_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TFEMBED_OUTCOMES", str(tmp_path / "outcomes"))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    class Report:
        nodeid, outcome, skipped = "a.py::b", "skipped", True
        longrepr = ("a.py", 3, "Skipped: there is no Beam")

    skipped.note(Report)
    record = {"test": "a.py::b", "outcome": "skipped", "reason": "there is no Beam"}
    assert json.loads((tmp_path / "outcomes").read_text()) == record
