"""Formats that the graph does not read become PNG, as Pillow sees them."""

import io
import struct
import subprocess
import sys

import hostile_images as hostile
import numpy as np
import pytest
from PIL import Image, features

from tfembed.formats.image_files import (
    MissingReader,
    UnreadableImage,
    as_decodable,
    name_some,
    part_images,
)
from tfembed.ops.image_formats import MAX_PIXELS

PIXELS = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
EXIF = Image.Exif()
EXIF[0x0112] = 6
# Written without loss, so that pixels can be compared.
FOREIGN = {
    "webp": {"format": "WEBP", "lossless": True},
    "tiff": {"format": "TIFF"},
    "packed tiff": {"format": "TIFF", "compression": "tiff_lzw"},
    "jpeg 2000": {"format": "JPEG2000"},
}


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def reread(data, **options):
    with Image.open(io.BytesIO(as_decodable(data, **options))) as image:
        assert image.format == "PNG"
        image.load()
        return image


@pytest.mark.parametrize(
    "kind", ["jpeg", "progressive", "png", "gif", "animation", "bmp"]
)
def test_what_the_graph_reads_stays_as_it_is(kind):
    assert as_decodable(hostile.GOOD[kind]) is hostile.GOOD[kind]


@pytest.mark.parametrize("name", FOREIGN)
def test_the_rest_becomes_png(name):
    data = encoded(Image.fromarray(PIXELS), **FOREIGN[name])
    for level in (0, 1):
        np.testing.assert_array_equal(reread(data, compress_level=level), PIXELS)


@pytest.mark.parametrize("name", ["webp", "tiff", "packed tiff"])
def test_exif_turns_and_xmp_does_not(name):
    image = Image.fromarray(PIXELS)
    turned = reread(encoded(image, **FOREIGN[name], exif=EXIF))
    np.testing.assert_array_equal(turned, np.rot90(PIXELS, -1))
    xmp = {"xmp": XMP} if name == "webp" else {"tiffinfo": {700: XMP}}
    upright = encoded(image, **FOREIGN[name], **xmp)
    with Image.open(io.BytesIO(upright)) as opened:
        assert opened.getexif().get(0x0112) == 6  # Pillow would turn it
    np.testing.assert_array_equal(reread(upright), PIXELS)


@pytest.mark.parametrize("name", ["webp", "tiff"])
def test_transparency_is_kept_for_the_graph_to_blend(name):
    pixels = np.random.default_rng(1).integers(1, 256, (9, 8, 4), np.uint8)
    data = encoded(Image.fromarray(pixels), **FOREIGN[name], **_exact(name))
    np.testing.assert_array_equal(reread(data), pixels)


def _exact(name):
    return {"exact": True} if name == "webp" else {}


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif():
    smooth = Image.fromarray(PIXELS[:4, :4]).resize((40, 30), Image.BICUBIC)
    plain = reread(encoded(smooth, format="AVIF", quality=90))
    assert np.abs(np.asarray(plain, int) - np.asarray(smooth)).mean() < 8
    turned = reread(encoded(smooth, format="AVIF", quality=90, exif=EXIF))
    np.testing.assert_array_equal(turned, np.rot90(np.asarray(plain), -1))


@pytest.mark.parametrize("bits", [1, 4, "runs"])
def test_bmps_that_the_graph_does_not_read(bits):
    if bits == 1:
        image = Image.fromarray(PIXELS).convert("1")
        data = encoded(image, format="BMP")
        right = np.asarray(image.convert("L"))
    else:
        # 3 x 2 pixels of colours 0 to 2, of 4 bits each or in runs of 8 bits.
        rows = [[0, 1, 2], [2, 2, 1]]
        colors = [(10, 20, 30), (40, 50, 60), (200, 100, 0)]
        if bits == 4:
            body = b"".join(
                bytes([row[0] << 4 | row[1], row[2] << 4, 0, 0]) for row in rows[::-1]
            )
        else:
            body = b"".join(
                b"".join(bytes([1, value]) for value in row) + b"\0\0"
                for row in rows[::-1]
            )
            body += b"\0\1"
        table = b"".join(bytes([*color[::-1], 0]) for color in colors)
        kind = (4, 0) if bits == 4 else (8, 1)
        head = struct.pack("<IiiHHIIiiII", 40, 3, 2, 1, *kind, len(body), 0, 0, 3, 0)
        place = 14 + len(head) + len(table)
        start = b"BM" + struct.pack("<IHHI", place + len(body), 0, 0, place)
        data = start + head + table + body
        right = np.array([[colors[value] for value in row] for row in rows])
    np.testing.assert_array_equal(reread(data), right)


def test_16_bits_keep_the_high_byte():
    pixels = np.random.default_rng(2).integers(0, 1 << 16, (6, 5)).astype(np.uint16)
    data = encoded(Image.fromarray(pixels), format="TIFF")
    np.testing.assert_array_equal(reread(data), pixels >> 8)
    with pytest.raises(UnreadableImage, match="none of them is white"):
        as_decodable(encoded(Image.fromarray(np.float32(pixels)), format="TIFF"))


@pytest.mark.parametrize("data", [b"", b"junk", b"<svg width='99999'/>", b"%PDF-1.7"])
def test_what_is_no_image_is_told(data):
    with pytest.raises(UnreadableImage, match="not an image of a known format"):
        as_decodable(data)


def test_what_is_damaged_or_too_large_is_told():
    with pytest.raises(UnreadableImage, match="does not decode as WebP"):
        as_decodable(hostile.GOOD["webp"][:60])
    with pytest.raises(UnreadableImage, match="declares 9000 x 9000, more than 64"):
        as_decodable(hostile.HEADERS["webp of 38 bytes"], max_pixels=None)
    side = int(MAX_PIXELS**0.5) + 1
    large = encoded(Image.new("1", (side, side)), format="TIFF", compression="group4")
    with pytest.raises(UnreadableImage, match="more than 64 million pixels"):
        as_decodable(large)
    with pytest.raises(UnreadableImage, match="17 x 31, more than 0.000526 million"):
        as_decodable(hostile.GOOD["png"], max_pixels=17 * 31 - 1)
    assert as_decodable(hostile.GOOD["png"], max_pixels=17 * 31) == hostile.GOOD["png"]


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_names_the_package_that_reads_it(brand):
    data = b"\0\0\0\x18ftyp" + brand + bytes(40)
    with pytest.raises(UnreadableImage) as raised:
        as_decodable(data)
    if isinstance(raised.value, MissingReader):
        assert "pip install pillow-heif" in str(raised.value)
    else:
        pytest.importorskip("pillow_heif")


WITHOUT_PILLOW = """
import sys
sys.modules["PIL"] = None
from tfembed.formats.image_files import MissingReader, as_decodable
assert as_decodable(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(40))
try:
    as_decodable(b"RIFF    WEBPVP8 " + bytes(40))
except MissingReader as error:
    print(error)
assert "tensorflow" not in sys.modules
"""


def test_without_pillow_the_extra_is_named():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PILLOW], capture_output=True, text=True
    )
    assert "WebP is read by Pillow" in done.stdout, done.stderr
    assert "pip install 'tfembed[images]'" in done.stdout


def test_images_are_told_by_ending_or_by_their_first_bytes(tmp_path):
    (tmp_path / "below").mkdir()
    for name, data in {
        "a.JPG": b"junk",
        "b.webp": b"",
        "c": hostile.GOOD["png"],
        "below/d.bin": hostile.GOOD["tiff"],
        "notes.txt": b"BMW and others",
        "e.svg": hostile.SVG,
        "empty": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
    good = ["a.JPG", "b.webp", "below/d.bin", "c"]
    bad = ["e.svg", "empty", "gone", "notes.txt"]
    assert part_images(str(tmp_path), sorted(good + bad)) == (good, bad)


def test_names_in_a_sentence():
    assert name_some(["a"]) == "a" and name_some("abcde") == "a, b, c, d, e"
    assert name_some(str(n) for n in range(1007)) == "0, 1, 2, 3, 4 and 1,002 more"
