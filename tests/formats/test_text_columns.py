"""Columns of texts in archives: what comes back, and what is no such thing."""

import io

import numpy as np
import pytest

from tfembed.formats.text_columns import (
    ARRAYS,
    check_columns,
    join_columns,
    pack_columns,
    unpack_columns,
)

TEXTS = ["", "Acme", "נעל \u202e", "a\0b", "😀" * 3, "x" * 100_000, "\ud800"]


def as_lists(columns):
    return {name: list(values) for name, values in columns.items()}


def through_an_archive(columns):
    buffer = io.BytesIO()
    np.savez(buffer, **pack_columns(columns))
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as archive:
        return dict(archive), buffer.getbuffer().nbytes


def test_texts_come_back_and_take_their_own_room():
    columns = {"brand": TEXTS, "": TEXTS[::-1], "a/../b": ["y"] * len(TEXTS)}
    arrays, size = through_an_archive(columns)
    found = unpack_columns(arrays, len(TEXTS), "here")
    assert as_lists(found) == columns
    assert all(values.dtype == object for values in found.values())
    assert size < 203_000  # of which the long one is 200,000


def test_no_columns_and_no_rows():
    assert pack_columns({}) == {} == unpack_columns({"ids": TEXTS}, 7, "here")
    arrays, _ = through_an_archive({"brand": [], "price": []})
    assert as_lists(unpack_columns(arrays, 0, "here")) == {"brand": [], "price": []}


def test_other_arrays_are_refused():
    good, _ = through_an_archive({"brand": ["a", "bc"], "price": ["1", "2"]})
    wrong = [{**good, name: good[name][:-1]} for name in ARRAYS]
    wrong += [{name: good[name] for name in ARRAYS if name != each} for each in ARRAYS]
    wrong += [
        {**good, "metadata_ends": good["metadata_ends"][:, ::-1]},
        {**good, "metadata_ends": good["metadata_ends"].astype(float)},
        {**good, "metadata_text": good["metadata_text"] | 0x80},
        {**good, "metadata_names": np.array(["brand", "brand"])},
    ]
    for arrays in wrong:
        with pytest.raises(ValueError, match="'here': `metadata_names`, .* 2 rows"):
            unpack_columns(arrays, 2, "'here'")


def test_parts_that_lack_a_column_have_empty_texts():
    parts = [({"a": ["1"]}, 1), ({}, 2), ({"b": ["x"], "a": ["2"]}, 1)]
    joined = join_columns(parts)
    assert as_lists(joined) == {"a": ["1", "", "", "2"], "b": ["", "", "", "x"]}
    assert join_columns([({}, 3)]) == {}


def test_a_persons_own_columns():
    found = check_columns({"brand": np.array(["a", "b"])}, 2, "`gallery`")
    assert as_lists(found) == {"brand": ["a", "b"]}
    assert all(type(each) is str for each in found["brand"])
    for given, said in (
        ({"brand": ["a"]}, "Received: 'brand' with 1 of them"),
        ({"brand": "ab"}, "Received: 'brand' with 0 of them"),
        ({"price": [1, 2]}, "Received: 'price' with 1 of type int"),
        ({7: ["a", "b"]}, "Received: 7 with"),
        ([["a", "b"]], "Received: list"),
    ):
        with pytest.raises(ValueError, match=said):
            check_columns(given, 2, "`gallery`")
