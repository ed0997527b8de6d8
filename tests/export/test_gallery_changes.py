"""Which rows a changed gallery has, against dictionaries."""

import numpy as np
import pytest

from tfembed.export.additions import Additions
from tfembed.export.gallery_changes import plan_changes

IDS = np.array(["a", "b", "ü", "d", "e"])
LABELS = np.array([0, 1, -1, 0, 1])
NAMES = np.array(["boot", "bag"])


def additions(ids, labels, class_names=(), name="new.npz"):
    ids = np.array(ids, np.str_)
    return Additions(name, ids, np.array(labels), class_names, 2, lambda: [])


def rows(changes):
    """The new gallery as `{id: (class name, where the row comes from)}`, in order."""
    source = {}
    for old, new in enumerate(changes.from_old):
        if new >= 0:
            source[int(new)] = "old", old
    for number, each in enumerate(changes.from_added):
        for row, new in enumerate(each):
            assert int(new) not in source
            source[int(new)] = number, row
    assert sorted(source) == list(range(changes.size))
    named = [*changes.class_names.tolist(), ""]
    return {
        str(name): (named[label], source[row])
        for row, (name, label) in enumerate(zip(changes.ids, changes.labels))
    }


def test_rows_are_added_replaced_and_deleted_in_place():
    new = additions(["z", "ü", "y"], ["hat", "bag", ""])
    changes = plan_changes(IDS, LABELS, NAMES, [new], ["b"])
    assert list(rows(changes).items()) == [
        ("a", ("boot", ("old", 0))),
        ("ü", ("bag", (0, 1))),
        ("d", ("boot", ("old", 3))),
        ("e", ("bag", ("old", 4))),
        ("z", ("hat", (0, 0))),
        ("y", ("", (0, 2))),
    ]
    assert changes.class_names.tolist() == ["boot", "bag", "hat"]
    assert (changes.added, changes.replaced, changes.deleted) == (2, 1, 1)
    assert changes.changed == 4


@pytest.mark.parametrize("seed", range(5))
def test_any_changes_are_those_of_a_dictionary(seed):
    rng = np.random.default_rng(seed)
    ids = np.array([f"id{each}" for each in rng.permutation(60)[:40]])
    labels = rng.integers(-1, 2, 40)
    gone = rng.choice(ids, 10, replace=False)
    pool = np.setdiff1d([f"id{each}" for each in range(80)], gone)
    names = ["boot", "bag", "hat", "cap", ""]
    picked = rng.choice(pool, 30, replace=False)
    parts = [
        additions(some, rng.choice(names, 15)) for some in (picked[:15], picked[15:])
    ]
    changes = plan_changes(ids, labels, NAMES, parts, gone)
    expected = {
        name: ([*NAMES, ""][label], ("old", row))
        for row, (name, label) in enumerate(zip(ids.tolist(), labels))
    }
    for name in gone:
        del expected[str(name)]
    for number, part in enumerate(parts):
        for row, (name, label) in enumerate(zip(part.ids, part.labels)):
            expected[str(name)] = str(label), (number, row)
    assert list(rows(changes).items()) == list(expected.items())
    assert changes.class_names.tolist()[:2] == ["boot", "bag"]


def test_numbers_of_labels_are_the_files_own_or_the_gallerys():
    own = additions(["y", "z", "x"], [1, 0, -1], ["bag", "cap"])
    changes = plan_changes(IDS, LABELS, NAMES, [own])
    assert changes.class_names.tolist() == ["boot", "bag", "cap"]
    assert [rows(changes)[name][0] for name in "yzx"] == ["cap", "bag", ""]
    plain = additions(["y", "z"], [1, 0])
    changes = plan_changes(IDS, LABELS, NAMES, [plain])
    assert [rows(changes)[name][0] for name in "yz"] == ["bag", "boot"]


def test_classes_that_nothing_has_are_not_appended():
    own = additions(["y"], [1], ["never", "cap", "never too"])
    changes = plan_changes(IDS, LABELS, NAMES, [own])
    assert changes.class_names.tolist() == ["boot", "bag", "cap"]


def test_an_unlabelled_gallery_stays_one():
    none = np.full(5, -1)
    changes = plan_changes(IDS, none, np.empty(0, str), [additions(["y"], [-1])])
    assert changes.class_names.shape == (0,) and (changes.labels == -1).all()


@pytest.mark.parametrize(
    ("new", "delete", "message"),
    [
        ([], ["x"], "must be in the gallery. Received: 'x', which is not"),
        ([], ["x", "y", "a"], "Received: 'x', 'y', which are not"),
        ([], IDS, "keep at least one row"),
        ([additions(["a"], [0])], ["a"], "both deleted and added. Received: 'a'"),
        ([additions(["y"], [0]), additions(["y"], [0])], [], "'y' in two files"),
        ([additions(["y"], [2])], [], "the gallery's, 0 to 1. Received: 2"),
        ([additions(["y"], [-2])], [], "Received: -2"),
        ([additions(["y"], [1], ["x"])], [], "its class names, 0 to 0. Received: 1"),
    ],
)
def test_what_does_not_fit_is_said(new, delete, message):
    with pytest.raises(ValueError, match=message):
        plan_changes(IDS, LABELS, NAMES, new, delete)


def test_unknown_ids_to_delete_may_be_passed_over():
    changes = plan_changes(IDS, LABELS, NAMES, [], ["x", "a"], ignore_missing=True)
    assert changes.deleted == 1 and changes.ids.tolist() == ["b", "ü", "d", "e"]
    changes = plan_changes(IDS, LABELS, NAMES, [], ["x"], ignore_missing=True)
    assert changes.changed == 0
