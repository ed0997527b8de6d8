"""EXIF's orientation in the graph, against NumPy's flips of the same decode."""

import io
import struct

import hostile_images as hostile
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfembed.ops.image_formats import MAX_ENTRIES, MAX_SEGMENTS
from tfembed.ops.images import decode_image, decode_rgb
from tfembed.ops.orientation import jpeg_exif, orientation_in, png_exif

FLIPS = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels.swapaxes(0, 1), 2),
    8: np.rot90,
}
XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><a tiff:Orientation="6"/></x:xmpmeta>'


@pytest.fixture(scope="module")
def decode():
    return tf.function(decode_rgb, [tf.TensorSpec([], tf.string)])


@pytest.fixture(scope="module")
def told():
    """The orientation of a file by the graph's parser; it need not decode."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def tell(encoded):
        is_jpeg = tf.strings.substr(encoded, 0, 2) == b"\xff\xd8"
        exif = tf.cond(is_jpeg, lambda: jpeg_exif(encoded), lambda: png_exif(encoded))
        return orientation_in(exif)

    return lambda encoded: int(tell(encoded))


def turned_file(kind, tiff):
    put = hostile.exif(tiff) if kind == "jpeg" else hostile.png_chunk(b"eXIf", tiff)
    make = hostile.with_segments if kind == "jpeg" else hostile.with_chunks
    return make(put)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("value", sorted(FLIPS))
def test_each_value_is_numpys_flip(decode, kind, order, value):
    upright = decode(hostile.GOOD[kind]).numpy()
    assert upright.shape[0] != upright.shape[1]
    encoded = turned_file(kind, hostile.tiff(value, order, entries=3, at=1))
    turned = decode(encoded).numpy()
    np.testing.assert_array_equal(turned, FLIPS[value](upright))
    np.testing.assert_array_equal(decode_rgb(encoded), turned)  # and without a graph
    with Image.open(io.BytesIO(encoded)) as image:
        assert ImageOps.exif_transpose(image).size == turned.shape[1::-1]


def test_the_turn_comes_before_the_resize():
    encoded = turned_file("png", hostile.tiff(6))
    upright = decode_rgb(hostile.GOOD["png"]).numpy()
    right = tf.image.resize(
        np.rot90(upright, -1).astype(np.float32), (9, 20), antialias=True
    )
    np.testing.assert_allclose(decode_image(encoded, (9, 20, 3)), right, atol=1e-3)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("name", sorted(hostile.damaged_directories()))
def test_what_is_damaged_is_upright_and_valid(decode, kind, name):
    encoded = turned_file(kind, hostile.damaged_directories()[name])
    np.testing.assert_array_equal(decode(encoded), decode(hostile.GOOD[kind]))


def test_exif_is_found_where_it_stands(decode):
    upright = decode(hostile.GOOD["jpeg"]).numpy()
    exif, other = hostile.exif(hostile.tiff()), hostile.segment(0xE2, b"Exif\0\0" * 9)
    late = hostile.GOOD["jpeg"].index(b"\xff\xdb")
    for encoded in (
        hostile.with_segments(other, b"\xff\xff\xff", exif),  # fill bytes
        hostile.with_segments(other, hostile.segment(0xE1, XMP), exif),
        hostile.GOOD["jpeg"][:late] + exif + hostile.GOOD["jpeg"][late:],
    ):
        np.testing.assert_array_equal(decode(encoded), np.rot90(upright, -1))
    behind = hostile.png_chunk(b"eXIf", hostile.tiff())
    encoded = hostile.with_chunks(behind, before_data=False)
    upright = decode(hostile.GOOD["png"]).numpy()
    np.testing.assert_array_equal(decode(encoded), np.rot90(upright, -1))


def test_the_first_of_several_counts(decode):
    exifs = [hostile.exif(hostile.tiff(value)) for value in (3, 6)]
    upright = decode(hostile.GOOD["jpeg"]).numpy()
    turned = decode(hostile.with_segments(*exifs)).numpy()
    np.testing.assert_array_equal(turned, np.rot90(upright, 2))


def test_xmp_and_raw_profiles_tell_nothing(decode):
    raw = b"Raw profile type exif\0\0" + hostile.zlib.compress(
        b"\nexif\n    %d\n" % len(hostile.tiff())
        + hostile.tiff().hex().encode()
        + b"\n"
    )
    for encoded, kind in (
        (hostile.with_segments(hostile.segment(0xE1, XMP)), "jpeg"),
        (hostile.with_chunks(hostile.png_chunk(b"zTXt", raw)), "png"),
        (
            hostile.with_chunks(
                hostile.png_chunk(
                    b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.partition(b"\0")[2]
                )
            ),
            "png",
        ),
    ):
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
            assert image.getexif().get(0x0112) == 6  # Pillow does ask them
        np.testing.assert_array_equal(decode(encoded), decode(hostile.GOOD[kind]))


@pytest.mark.parametrize(("segments", "turned"), [(-1, True), (0, False)])
def test_segments_are_counted(decode, segments, turned):
    number = MAX_SEGMENTS + segments
    exif = hostile.exif(hostile.tiff(3))
    encoded = hostile.with_segments(hostile.segment(0xFE, b"") * number, exif)
    upright = decode(hostile.GOOD["jpeg"]).numpy()
    wanted = np.rot90(upright, 2) if turned else upright
    np.testing.assert_array_equal(decode(encoded), wanted)
    # IHDR is the first chunk.
    chunks = hostile.png_chunk(b"teSt", b"") * (number - 1)
    exif = hostile.png_chunk(b"eXIf", hostile.tiff(3))
    upright = decode(hostile.GOOD["png"]).numpy()
    wanted = np.rot90(upright, 2) if turned else upright
    np.testing.assert_array_equal(decode(hostile.with_chunks(chunks, exif)), wanted)


def test_entries_are_counted(told):
    for at, value in ((MAX_ENTRIES - 1, 6), (MAX_ENTRIES, 1)):
        tiff = hostile.tiff(6, entries=MAX_ENTRIES + 1, at=at)
        assert told(turned_file("jpeg", tiff)) == value


@pytest.mark.parametrize("order", "<>")
def test_entries_behind_those_that_are_counted_are_none(told, order):
    for counted, value in ((256, 1), (257, 6)):  # the second byte counts, too
        tiff = bytearray(hostile.tiff(6, order=order, entries=300, at=256))
        tiff[8:10] = struct.pack(order + "H", counted)
        assert told(turned_file("jpeg", bytes(tiff))) == value


def reference(encoded):
    """The same rules once more, as plainly as they can be written."""
    tiff = b""
    if encoded[:2] == b"\xff\xd8":
        at = 2
        for _ in range(MAX_SEGMENTS):
            if encoded[at : at + 1] != b"\xff" or at + 1 >= len(encoded):
                break
            marker = encoded[at + 1]
            if marker == 0xFF:
                at += 1
                continue
            if marker == 1 or 0xD0 <= marker <= 0xD7:
                at += 2
                continue
            size = int.from_bytes(encoded[at + 2 : at + 4].ljust(2, b"\0"), "big")
            if marker in (0, 0xD8, 0xD9, 0xDA) or size < 2:
                break
            body = encoded[at + 4 : at + 2 + size]
            if marker == 0xE1 and size >= 8 and body[:6] == b"Exif\0\0":
                tiff = body[6:]
                break
            at += 2 + size
    else:
        at = 8
        for _ in range(MAX_SEGMENTS):
            size = int.from_bytes(encoded[at : at + 4], "big")
            name = encoded[at + 4 : at + 8]
            if name == b"eXIf":
                tiff = encoded[at + 8 : at + 8 + size]
            if name in (b"eXIf", b"IEND", b""):
                break
            at += 12 + size
    order = {b"MM\0*": "big", b"II*\0": "little"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    at = int.from_bytes(tiff[4:8], order)
    entries = int.from_bytes(tiff[at : at + 2], order) if at + 2 <= len(tiff) else 0
    for row in range(min(entries, MAX_ENTRIES)):
        entry = tiff[at + 2 + 12 * row : at + 14 + 12 * row]
        if len(entry) == 12 and int.from_bytes(entry[:2], order) == 0x0112:
            kind, count = struct.unpack(
                {"big": ">", "little": "<"}[order] + "HI", entry[2:8]
            )
            value = int.from_bytes(entry[8:10], order)
            return value if (kind, count) == (3, 1) and 1 <= value <= 8 else 1
    return 1


def test_hostile_files_are_read_as_the_reference_reads_them(told):
    """Also with each byte of a directory changed."""
    files = [one for one in hostile.FIXED if one[:2] in (b"\xff\xd8", b"\x89P")]
    for kind in ("jpeg", "png"):
        whole = turned_file(kind, hostile.tiff(6, "<", entries=2, at=1))
        start = whole.lower().index(b"exif") - 5
        for at in range(start, start + 50):
            files += [
                whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
                for bit in (1, 0x80)
            ]
        files += [whole[:end] for end in range(start, start + 60, 7)]
    found = [told(encoded) for encoded in files]
    assert found == [reference(encoded) for encoded in files]
    assert len(set(found)) > 2
