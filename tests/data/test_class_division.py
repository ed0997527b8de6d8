"""Which classes are trained on, by the split's name."""

import numpy as np
import pytest

from tfembed.data import load_images
from tfembed.data.class_division import divide_classes

LABELS = np.repeat(np.arange(7), 3)


@pytest.mark.parametrize(
    "test_labels, split, holdout, expected",
    [
        (None, "unseen", 0, ([0, 1, 2], [3, 4, 5, 6], "train")),
        (LABELS[:9], "unseen", 0, ([0, 1, 2], [3, 4, 5, 6], "test")),
        (LABELS[:9], "unseen", 1, ([0, 1], [2], "train")),
        (np.array([8, 9]), "given", 0, (list(range(7)), [8, 9], "test")),
        (np.array([8, 9]), "given", 2, (list(range(5)), [5, 6], "train")),
    ],
)
def test_divided(test_labels, split, holdout, expected):
    classes, test_classes, pool = divide_classes(LABELS, test_labels, split, holdout)
    assert (list(classes), list(test_classes), pool) == expected


@pytest.mark.parametrize(
    "labels, test_labels, split, holdout, word",
    [
        (None, None, "unseen", 0, "label"),
        (LABELS, None, "given", 0, "test part"),
        (LABELS, LABELS, "given", 0, "unseen"),
        (LABELS, None, "unseen", 3, "holdout"),
        (LABELS * 0, None, "unseen", 0, "two classes"),
    ],
)
def test_refused(labels, test_labels, split, holdout, word):
    with pytest.raises(ValueError, match=word):
        divide_classes(labels, test_labels, split, holdout)


def test_images_of_a_divided_source():
    data = load_images(
        "synthetic", split="unseen", limit=60, test_limit=90, image_size=8, seed=3
    )
    assert data.train.size == 60 and data.test.size == 90
    assert set(data.train.labels) == set(range(5))
    assert set(data.test.labels) == set(range(5, 10))
    assert all("test" in name for name in data.test.names)
    again = load_images(
        "synthetic", split="unseen", limit=60, test_limit=90, image_size=8, seed=3
    )
    np.testing.assert_array_equal(again.train.names, data.train.names)
    with pytest.raises(ValueError, match="split"):
        load_images("synthetic", split="half")
