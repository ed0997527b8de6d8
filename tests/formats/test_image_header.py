"""What an image's header declares, in Python and in the graph, without decoding."""

import io
import struct

import hostile_images as hostile
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from PIL import Image

from tfembed.formats.image_header import declared_size, image_format, is_decodable
from tfembed.ops import gif_frame, images, orientation
from tfembed.ops.declared_size import declared_pixels
from tfembed.ops.image_formats import FORMATS

WIDTH, HEIGHT = 37, 23
KINDS = {
    "jpeg": {"quality": 90},
    "progressive": {"format": "jpeg", "progressive": True},
    "commented": {
        "format": "jpeg",
        "comment": b"\xff\xc0" * 9,
        "exif": b"Exif\x00\x00",
    },
    "png": {},
    "gif": {},
    "bmp": {},
    "webp": {"quality": 80},
    "lossless": {"format": "webp", "lossless": True},
}


def encoded(kind, width=WIDTH, height=HEIGHT):
    """Returns a file of that kind."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    options = {"format": kind, **KINDS[kind]}
    Image.fromarray(pixels).save(file, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_tells_its_size(kind):
    data = encoded(kind)
    assert declared_size(data) == (WIDTH, HEIGHT)
    for end in range(0, len(data), max(len(data) // 50, 1)):  # cut short anywhere
        assert declared_size(data[:end]) in ((WIDTH, HEIGHT), (0, 0))


def test_the_largest_frame_of_a_gif_counts():
    data = bytearray(encoded("gif"))
    at = data.index(b"\x2c\x00\x00\x00\x00" + struct.pack("<HH", WIDTH, HEIGHT))
    data[at + 5 : at + 9] = struct.pack("<HH", 60_000, 50_000)
    assert declared_size(bytes(data)) == (60_000, 50_000)


def test_bmps_of_both_headers_and_upside_down():
    data = bytearray(encoded("bmp"))
    data[22:26] = struct.pack("<i", -HEIGHT)
    assert declared_size(bytes(data)) == (WIDTH, HEIGHT)
    old = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 5, 6, 1, 24)
    assert declared_size(old) == (5, 6)


@pytest.mark.parametrize("data", [b"", b"junk", b"<svg width='99999'/>", b"\xff\xd8"])
def test_what_is_no_image_declares_nothing(data):
    assert declared_size(data) == (0, 0)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_each_format_is_told_by_its_whole_magic(one):
    for magic in one.magics:
        data = bytearray(64)
        for at, part in magic:
            data[at : at + len(part)] = part
        assert image_format(bytes(data)) == one
        for at, part in magic:
            for place in range(at, at + len(part)):
                other = data.copy()
                other[place] ^= 0x20
                found = image_format(bytes(other))
                assert found != one or bytes(other[at : at + 6]) == b"GIF89a"


@pytest.fixture(scope="module")
def in_graph():
    """The graph's parsers: pixels (None where they raise), and whether it decodes."""
    spec = [tf.TensorSpec([], tf.string)]
    pixels = tf.function(declared_pixels, spec)
    decodable = tf.function(images.is_decodable, spec)

    def ask(data):
        try:
            return int(pixels(data)), bool(decodable(data))
        except tf.errors.InvalidArgumentError:
            return None, bool(decodable(data))

    return ask


def agree(in_graph, data):
    pixels, decodable = in_graph(data)
    width, height = declared_size(data)
    assert is_decodable(data) == decodable
    if not decodable or pixels is None or len(data) < 26:
        return
    if data[:3] == b"GIF" and data.count(b",") > 1:
        assert width * height >= pixels  # Python looks at all frames
    else:
        assert width * height == pixels


def test_the_graphs_parser_and_pythons_agree(in_graph):
    for data in hostile.FIXED:
        agree(in_graph, data)
    assert in_graph(hostile.HEADERS["gif: a canvas of 60000"])[0] == 60000**2
    assert in_graph(hostile.HEADERS["webp of 38 bytes"]) == (0, False)
    assert declared_size(hostile.HEADERS["webp of 38 bytes"]) == (9000, 9000)


def bitmap_with_masks(header, *masks):
    """A BMP of 2 x 2 pixels of 32 bits, whose channels stand where masks say."""
    size, rows = 14 + max(header, 40) + 12 * (header == 40), bytes(range(16))
    fields = struct.pack("<IiiHHIIiiII", header, 2, 2, 1, 32, 3, 16, 0, 0, 0, 0)
    channels = struct.pack(f"<{len(masks)}I", *masks)
    head = (fields + channels).ljust(size - 14, b"\0")
    return struct.pack("<2sIII", b"BM", size + 16, 0, size) + head + rows


@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
def test_bmps_with_masks_are_decoded_where_they_are_the_usual_ones(in_graph, header):
    for masks, decodable in (
        ((0xFF0000, 0xFF00, 0xFF), True),
        ((0xFF, 0xFF00, 0xFF0000), False),
        ((0xFF0000, 0xFF00, 0xFE), False),
        ((0x7C00, 0x3E0, 0x1F), False),
    ):
        data = bitmap_with_masks(header, *masks)
        assert is_decodable(data) == decodable, masks
        agree(in_graph, data)


@pytest.mark.parametrize(
    "examples", [300, pytest.param(10_000, marks=pytest.mark.slow)]
)
def test_they_agree_on_what_is_drawn(in_graph, examples):
    settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )(given(hostile.hostile())(lambda data: agree(in_graph, data)))()


class _Counted(bytes):
    """Bytes that count how often they are asked, and for how many."""

    steps = touched = 0

    def _count(self, touched):
        self.steps += 1
        self.touched += touched

    def __getitem__(self, key):
        got = super().__getitem__(key)
        self._count(1 if isinstance(got, int) else len(got))
        return got

    def find(self, part, start=0):
        at = super().find(part, start)
        self._count((len(self) if at < 0 else at + len(part)) - start)
        return at

    def __contains__(self, part):
        self._count(len(self))
        return super().__contains__(part)

    index = None  # `find` is what is counted


@pytest.mark.parametrize("name", sorted(hostile.LONG))
def test_pythons_parser_is_linear_and_bounded(name):
    for size in (4_000, 800_000):
        data = _Counted(hostile.LONG[name](size))
        declared_size(data)
        assert data.touched <= 4 * len(data) + 200
        assert data.steps <= min(4 * len(data), 6 * (1 << 16)) + 200


@pytest.fixture(scope="module")
def traced():
    """Function: data to the operations that the graph's parsers run, and their values.

    At a limit of 64 segments; what runs is read from the runtime's own trace.
    """
    few, patch = 64, pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(orientation, "MAX_SEGMENTS", few)
        context.setattr(gif_frame, "MAX_SEGMENTS", few)

        @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
        def parse(encoded):
            # Not by `decode_rgb`, whose parts that stay calls were traced before.
            frame = gif_frame.gif_frame(encoded)
            exif = tf.switch_case(
                images.image_kind(encoded),
                [
                    lambda: orientation._jpeg_exif.__wrapped__(encoded),
                    lambda: orientation._png_exif.__wrapped__(encoded),
                    lambda: frame.encoded,
                    lambda: encoded,
                    lambda: encoded,
                ],
            )
            return orientation.orientation_in(exif)

        function = parse.get_concrete_function()
    graph = tf.Graph()
    with graph.as_default():
        tf.graph_util.import_graph_def(function.graph.as_graph_def(), name="")
        options = tf.compat.v1.RunOptions(trace_level=1)
        session = tf.compat.v1.Session(graph=graph)
    passing = {"Enter", "Exit", "Merge", "Switch", "NextIteration", "Identity", "_Send"}

    def run(data):
        told = tf.compat.v1.RunMetadata()
        feeds = {function.inputs[0].name: data}
        session.run(function.outputs[0].name, feeds, options, told)
        operations = values = 0
        for device in told.step_stats.dev_stats:
            for node in device.node_stats:
                kind = node.timeline_label.partition(" = ")[2].partition("(")[0]
                operations += 1
                for out in node.output if kind not in passing else ():
                    shape = out.tensor_description.shape.dim
                    values += int(np.prod([one.size for one in shape]))
        return operations, values

    yield few, run
    session.close()


@pytest.mark.parametrize("name", sorted(hostile.LONG))
def test_the_graphs_parsers_are_linear_and_bounded(traced, name):
    few, run = traced
    for size in (2_000, 100_000):
        data = hostile.LONG[name](size)
        operations, values = run(data)
        assert operations <= 1000 + 200 * few
        assert values <= 8 * len(data) + 1000 + 200 * few
