"""Which rows train and which evaluate."""

import numpy as np
import pytest

from tfembed.data.selection import hold_out_tenth, select_training_rows


def test_limit_takes_the_first_and_holdout_the_next():
    rows, held_out = select_training_rows(10, 4, 3)
    assert rows.tolist() == [0, 1, 2, 3] and held_out.tolist() == [4, 5, 6]
    rows, held_out = select_training_rows(10, None, 3)
    assert rows.tolist() == list(range(7)) and held_out.tolist() == [7, 8, 9]
    rows, held_out = select_training_rows(10, 99, 0)
    assert rows.tolist() == list(range(10)) and held_out.size == 0


def test_first_and_next_follow_the_order_given():
    order = np.array([3, 1, 4, 0, 2])
    rows, held_out = select_training_rows(5, 2, 2, order)
    assert rows.tolist() == [1, 3] and held_out.tolist() == [0, 4]


@pytest.mark.parametrize(("limit", "holdout"), [(8, 3), (None, 10), (99, 1)])
def test_too_few_images_are_told(limit, holdout):
    with pytest.raises(ValueError, match="`limit` and `holdout`.*10 images"):
        select_training_rows(10, limit, holdout)


def test_a_tenth_of_each_class_by_the_seed():
    labels = np.repeat([0, 1, 2, 7], [40, 20, 3, 1])
    rows, held_out = hold_out_tenth(64, labels, seed=0)
    assert sorted([*rows, *held_out]) == list(range(64))
    assert np.bincount(labels[held_out], minlength=8).tolist() == [4, 2, 1] + [0] * 5
    again = hold_out_tenth(64, labels, seed=0)[1]
    other = hold_out_tenth(64, labels, seed=1)[1]
    assert held_out.tolist() == again.tolist() != other.tolist()


def test_a_tenth_without_classes():
    rows, held_out = hold_out_tenth(95, None, seed=0)
    assert len(held_out) == 10 and sorted([*rows, *held_out]) == list(range(95))
