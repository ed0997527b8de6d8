"""Training, galleries, `embed`, client, page and graph see the same picture."""

import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfembed.data import load_images
from tfembed.data.array_split import ArraySplit
from tfembed.data.encoded_stream import decode_stream
from tfembed.data.folder import FolderSplit
from tfembed.data.image_stream import decode_or_reason, stream_images
from tfembed.data.source_images import SourceImages
from tfembed.export.additions import read_additions
from tfembed.export.image_bytes import decode_examples, decode_images
from tfembed.export.samples import encode_samples
from tfembed.formats.image_files import as_decodable
from tfembed.ops.image_formats import RESIZES
from tfembed.ops.images import decode_image
from tfembed.serving.images import Images
from tfembed.serving.thumbnails import read_picture

HEIGHT, WIDTH = 12, 10
SHAPE = (HEIGHT, WIDTH, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)


def _files():
    """Name to bytes; each shows HEIGHT x WIDTH."""
    exif, found = Image.Exif(), {}
    exif[0x0112] = 8
    clear = Image.fromarray(PIXELS)
    plain = clear.convert("RGB")
    smooth = plain.crop((0, 0, 3, 3)).resize((WIDTH, HEIGHT), Image.BICUBIC)

    def put(name, image, **options):
        file = io.BytesIO()
        image.save(file, **options)
        found[name] = file.getvalue()

    def aside(image):
        return image.transpose(Image.Transpose.ROTATE_270)

    put("photo.jpg", aside(smooth), format="JPEG", quality=95, exif=exif)
    put("aside.png", aside(plain), format="PNG", exif=exif)
    put("cut-out.png", clear, format="PNG")
    put("cut-out-aside.png", aside(clear), format="PNG", exif=exif)
    put("palette.png", plain.quantize(9), format="PNG", transparency=4)
    put("palette.gif", plain.quantize(9), format="GIF", transparency=4)
    put("palette.bmp", plain.quantize(200), format="BMP")
    put("bits.bmp", plain.convert("1"), format="BMP")
    put("aside.webp", aside(plain), format="WEBP", lossless=True, exif=exif)
    put("lies.jpg", clear, format="WEBP", lossless=True, exact=True)
    put("aside.tiff", aside(clear), format="TIFF", exif=exif)
    put("gray.tif", plain.convert("L"), format="TIFF")
    return found


FILES = _files()
NAMES = sorted(FILES)


def expected(name):
    """What Pillow shows, in float64."""
    with Image.open(io.BytesIO(FILES[name])) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"), np.float64)
    share = pixels[..., 3:] / 255
    return np.rint(pixels[..., :3] * share + 255 * (1 - share))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("same") / "pictures"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def graph():
    """The decoder of an export."""
    spec = [tf.TensorSpec([None], tf.string)]
    return tf.function(lambda files: decode_images(files, SHAPE), spec)


def _trained_on(folder, graph):
    data = load_images(f"folder:{folder}")
    assert data.image_shape == SHAPE and not data.train.skipped + data.test.skipped
    found = {}
    for split in (data.train, data.test):
        for batch in split.batches(4):
            names = split.names[batch["ids"].numpy()]
            found.update(zip(names.tolist(), batch["images"].numpy()))
    return found


def _embedded(folder, graph):
    split = FolderSplit(str(folder), SHAPE, None, NAMES)
    found = {}
    for rows, images, skipped in stream_images(split, np.arange(len(NAMES)), 5, SHAPE):
        assert not skipped
        found.update(zip((NAMES[row] for row in rows), images))
    return found


def _embedded_by_beam(folder, graph):
    return {name: decode_or_reason(FILES[name], SHAPE)[0] for name in NAMES}


def _put_into_a_gallery(folder, graph):
    found = []

    def embed(files):
        images, valid = graph(files)
        found.extend(images.numpy())
        return np.tile(np.float32([1, 0]), (len(files), 1)), valid.numpy()

    ids = read_additions(f"images:{folder}", embed).ids.tolist()
    return dict(zip(ids, found))


def _asked_for(folder, graph):
    images = Images([folder / name for name in NAMES])
    (batch,) = images.batches(None, 99, 1 << 30, None)
    decoded, valid = graph(tf.constant(batch.values))
    assert valid.numpy().all()
    return dict(zip(NAMES, decoded.numpy()))


def _example(data):
    example = tf.train.Example()
    example.features.feature["image_bytes"].bytes_list.value.append(data)
    return example.SerializeToString()


def _asked_for_as_examples(folder, graph):
    (batch,) = Images(list(FILES.values())).batches(None, 99, 1 << 30, None)
    rows = [_example(data) for data in batch.values]
    decoded, valid = decode_examples(tf.constant(rows), SHAPE)
    assert valid.numpy().all()
    return dict(zip(FILES, decoded.numpy()))


def _sampled(folder, graph):
    encoded = encode_samples([folder / name for name in NAMES], SHAPE)
    return dict(zip(NAMES, graph(tf.constant(encoded))[0].numpy()))


def _shown(folder, graph):
    pictures = {name: read_picture(folder / name) for name in NAMES}
    assert pictures["gray.tif"].shape == (HEIGHT, WIDTH, 1)
    return {name: np.broadcast_to(one, SHAPE) for name, one in pictures.items()}


@pytest.mark.parametrize(
    "see",
    [
        _trained_on,
        _embedded,
        _embedded_by_beam,
        _put_into_a_gallery,
        _asked_for,
        _asked_for_as_examples,
        _sampled,
        _shown,
    ],
    ids=lambda see: see.__name__[1:],
)
def test_each_sees_what_pillow_shows(see, folder, graph):
    found = see(folder, graph)
    assert sorted(found) == NAMES
    for name in NAMES:
        # A JPEG's colours are rounded otherwise.
        tolerance = 3 if FILES[name][:2] == b"\xff\xd8" else 0
        np.testing.assert_allclose(
            found[name], expected(name), atol=tolerance, err_msg=name
        )


RESIZED = (9, 14, 3)


@functools.cache
def _resized(name, resize):
    return decode_image(as_decodable(FILES[name]), RESIZED, resize=resize).numpy()


def _resized_while_training(folder, resize):
    data = load_images(f"folder:{folder}", image_size=RESIZED[:2], resize=resize)
    for split in (data.train, data.test):
        for batch in split.batches(4):
            names = split.names[batch["ids"].numpy()]
            yield from zip(names.tolist(), batch["images"].numpy())
            read = split.read(batch["ids"].numpy())
            np.testing.assert_array_equal(read, np.rint(batch["images"]))


def _resized_from_an_array(folder, resize):
    pictures = {name: read_picture(folder / name) for name in NAMES}
    for name, pixels in pictures.items():
        split = ArraySplit(pixels[None], None, [name]).converted(RESIZED, resize)
        yield name, split.read([0])[0]


def _resized_from_a_stream(folder, resize):
    stream = [(name, FILES[name], None) for name in NAMES]
    found = decode_stream(
        lambda: iter(stream), len(stream), RESIZED, "key", resize=resize
    )
    yield from zip(found.names.tolist(), found.read(np.arange(found.size)))


def _resized_while_embedding(folder, resize):
    images = SourceImages(f"folder:{folder}", "all", RESIZED, resize=resize)
    for rows, pixels, _ in images.stream(0, images.size, 5):
        yield from zip(images.ids(rows).tolist(), pixels)


def _resized_on_beam(folder, resize):
    for name in NAMES:
        yield name, decode_or_reason(FILES[name], RESIZED, resize)[0]


def _resized_in_the_graph(folder, resize, decode=decode_images):
    spec = [tf.TensorSpec([None], tf.string)]
    graph = tf.function(lambda files: decode(files, RESIZED, resize=resize), spec)
    (batch,) = Images([folder / name for name in NAMES]).batches(
        None, 99, 1 << 30, None
    )
    files = batch.values
    if decode is decode_examples:
        files = [_example(data) for data in files]
    images, valid = graph(tf.constant(files))
    assert valid.numpy().all()
    yield from zip(NAMES, images.numpy())


def _resized_in_examples(folder, resize):
    yield from _resized_in_the_graph(folder, resize, decode_examples)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize(
    "see",
    [
        _resized_while_training,
        _resized_from_an_array,
        _resized_from_a_stream,
        _resized_while_embedding,
        _resized_on_beam,
        _resized_in_the_graph,
        _resized_in_examples,
    ],
    ids=lambda see: see.__name__[1:],
)
def test_each_brings_pictures_to_a_size_alike(see, resize, folder):
    """Bit by bit, or rounded where they are kept as bytes."""
    found = dict(see(folder, resize))
    assert sorted(found) == NAMES
    for name in NAMES:
        right = _resized(name, resize)
        if found[name].dtype == np.uint8:
            right = np.rint(right)
        np.testing.assert_array_equal(found[name], right, err_msg=name)


def test_what_nothing_reads_is_sent_as_it_is_and_is_one_bad_row(graph):
    files = [b"junk", FILES["aside.webp"][:40], FILES["cut-out.png"]]
    (batch,) = Images(files).batches(None, 99, 1 << 30, None)
    assert batch.values[:2] == files[:2]
    _, valid = graph(tf.constant(batch.values))
    assert valid.numpy().tolist() == [False, False, True]


def test_a_reader_that_is_missing_is_named_by_the_client(tmp_path):
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match="phone.heic. HEIC .*install pillow-heif"):
            list(Images(path).batches(None, 9, 1 << 20, None))
