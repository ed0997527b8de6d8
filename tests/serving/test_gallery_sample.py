"""Which pictures of a gallery the page begins with."""

import numpy as np
import pytest

from tfembed.serving.gallery_sample import GallerySamples, spread_rows


def test_every_class_in_turn_and_each_row_once():
    labels = np.repeat([4, 1, -1], [1000, 3, 40])
    rows = spread_rows(labels, 10)
    assert len(set(rows.tolist())) == 10
    chosen = labels[rows]
    assert [int((chosen == label).sum()) for label in (-1, 1, 4)] == [4, 3, 3]
    assert sorted(chosen[:3]) == [-1, 1, 4]
    everything = spread_rows(labels, 10_000)
    np.testing.assert_array_equal(np.sort(everything), np.arange(len(labels)))


@pytest.mark.parametrize("count", [1, 2, 5, 16, 100])
@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000, 1_000_000])
def test_rows_without_labels_lie_evenly(size, count):
    rows = np.sort(spread_rows(np.full(size, -1), count))
    count = min(size, count)
    assert len(np.unique(rows)) == count
    gaps = np.diff([-1, *rows, size])
    assert gaps.max() <= 2 * -(-size // count) + 1


def test_of_more_classes_than_rows_those_far_apart():
    labels = np.random.default_rng(0).permutation(5000)
    found = np.sort(labels[spread_rows(labels, 8)])
    assert np.diff([0, *found, 5000]).max() <= 2 * 5000 / 8


def test_whatever_the_order_of_rows_the_classes_are_the_same():
    labels = np.random.default_rng(1).integers(0, 7, 300)
    one = labels[spread_rows(labels, 14)]
    other = labels[::-1][spread_rows(labels[::-1], 14)]
    np.testing.assert_array_equal(one, other)
    assert np.bincount(one).tolist() == [2] * 7


class _Served:
    """What a `Servable` tells of a gallery, and how often it was asked."""

    def __init__(self, labels, ids):
        self.asked = []
        self._held = {
            "gallery_labels": np.array(labels),
            "gallery_ids": np.array([each.encode() for each in ids], object),
            "label_names": np.array([b"", b"boot", "נעל".encode()], object),
        }

    def gallery(self, name, rows=None):
        self.asked.append((name, None if rows is None else len(rows)))
        held = self._held.get(name)
        return held if rows is None else held[rows]


class _Pictures:
    def __init__(self, names):
        self.names, self.looked = set(names), 0

    def has(self, name):
        self.looked += 1
        return name in self.names


def test_those_that_have_pictures_in_the_gallerys_order():
    ids = [f"{row}.png" for row in range(40)]
    served = _Served([0] * 20 + [1] * 19 + [-1], ids)
    pictures = _Pictures(ids[::2] + ids[39:])
    samples = GallerySamples(count=6)
    found = samples.of(served, pictures)
    assert found["missing"] is None
    names = [each["id"] for each in found["images"]]
    assert len(names) == 6 and set(names) <= pictures.names
    assert names == sorted(names, key=ids.index)
    labels = [each["label"] for each in found["images"]]
    assert labels[-1] == "" and labels.count("boot") in (2, 3)
    assert labels.count("נעל") in (2, 3)
    asked, looked = len(served.asked), pictures.looked
    assert samples.of(served, pictures) is found
    assert (len(served.asked), pictures.looked) == (asked, looked)  # once a version


def test_few_rows_are_looked_at_where_no_picture_is_there():
    ids = [f"{row}.png" for row in range(3000)]
    served, pictures = _Served([-1] * 3000, ids), _Pictures([])
    found = GallerySamples(count=5).of(served, pictures)
    assert found["images"] == [] and found["missing"] in ids
    assert pictures.looked <= 40
    assert max(count for _, count in served.asked if count is not None) <= 40
    assert GallerySamples().of(_Served([], []), pictures)["images"] == []
