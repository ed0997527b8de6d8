"""The one reader of archives: what it reads, and that any damage is a sentence."""

import io
import zipfile

import numpy as np
import pytest

from tfembed.formats.npz import Npz, read_npz

ARRAYS = {
    "rows": np.arange(12, dtype=np.float32).reshape(4, 3) / 7,
    "names": np.array(["a", "ö", "cc"]),
    "number": np.float32(0.5),
}


def content(save, **arrays):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(save, tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(content(save, **ARRAYS))
    found = read_npz(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
    assert list(read_npz(path, ["names"])) == ["names"]
    with Npz(path) as archive:
        assert "rows" in archive and "row" not in archive
        assert archive.get("row") is None and archive.number("number", 1) == 0.5
        assert archive.number("other", 1) == 1
        mapped = archive.mapped("rows")
    assert isinstance(mapped, np.memmap) == (save is np.savez)
    np.testing.assert_array_equal(mapped, ARRAYS["rows"])


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_each_byte_that_is_wrong_or_missing_is_a_sentence_or_does_not_matter(
    save, mapped, tmp_path
):
    """At each place of some arrays a bit is flipped, which one by its number."""
    path, whole = tmp_path / "x.npz", content(save, rows=ARRAYS["rows"], n=np.arange(3))

    def refused(data):
        path.write_bytes(data)
        try:
            with Npz(path) as archive:
                rows = archive.mapped("rows") if mapped else archive["rows"]
                number = archive["n"]
        except ValueError as error:
            assert str(error).startswith(repr(str(path))) and "Write it" in str(error)
            return True
        np.testing.assert_array_equal(rows, ARRAYS["rows"])
        np.testing.assert_array_equal(number, np.arange(3))
        return False

    assert not refused(whole)
    assert all(refused(whole[:length]) for length in range(0, len(whole), 11))
    counts = []
    for place in range(len(whole)):
        flipped = bytes([whole[place] ^ 1 << place * 3 % 8])
        counts.append(refused(whole[:place] + flipped + whole[place + 1 :]))
    assert np.mean(counts) > 0.5  # the rest are times, attributes, padding


def test_what_is_no_archive_of_plain_arrays(tmp_path):
    path = tmp_path / "x.npz"
    single = io.BytesIO()
    np.save(single, np.arange(3))
    objects = content(np.savez, rows=np.array([{}, None], object))
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("rows.npy", b"no array")
    for data, words in (
        (b"", "File is not a zip file"),
        (b"text", "File is not a zip file"),
        (single.getvalue(), "File is not a zip file"),
        (np.arange(3).dumps(), "File is not a zip file"),
        (objects, "reading its array `rows` says: Object arrays cannot be loaded"),
        (other.getvalue(), "reading its array `rows` says"),
        (content(np.savez, other=1), r"must hold the array `rows`. .*\['other'\]"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=words) as error:
            read_npz(path, ["rows"], "Do this.")
        assert str(path) in str(error.value) and "Do this." in str(error.value)
    with pytest.raises(ValueError, match="a path where no file is"):
        read_npz(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="Is a directory"):
        read_npz(tmp_path)


def test_a_shape_is_not_believed_before_its_bytes_are_there(tmp_path):
    """An array of 8 EB that a damaged header claims is no MemoryError."""
    path = tmp_path / "x.npz"
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        data, {"descr": "<f8", "fortran_order": False, "shape": (1 << 60,)}
    )
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("rows.npy", data.getvalue() + bytes(8))
        with Npz(path) as archive:
            for read in (archive.__getitem__, archive.mapped):
                with pytest.raises(ValueError, match="bytes, of which there are 8"):
                    read("rows")


def test_kinds_and_shapes(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(content(np.savez, **ARRAYS, image=np.zeros((2, 3), np.int16)))
    with Npz(path) as archive:
        assert archive.array("rows", "floats", ("n", 3)).shape == (4, 3)
        assert archive.array("names", "strings", (3,)).tolist() == ["a", "ö", "cc"]
        for name, kind, shape in (
            ("rows", "integers", ("n", 3)),
            ("rows", "floats", ("n",)),
            ("rows", "floats", ("n", 4)),
            ("image", "uint8", ("n", 3)),
            ("names", "bytes", ("n",)),
        ):
            with pytest.raises(ValueError, match=f"`{name}` as {kind} of shape"):
                archive.array(name, kind, shape)
        for name in ("rows", "names"):
            with pytest.raises(ValueError, match="as one number. Received"):
                archive.number(name, 0)
