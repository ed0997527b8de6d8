"""Training, galleries, `embed`, client, page and graph see the same picture."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfembed.data import load_images
from tfembed.data.folder import FolderSplit
from tfembed.data.image_stream import decode_or_reason, stream_images
from tfembed.export.additions import read_additions
from tfembed.export.image_bytes import decode_examples, decode_images
from tfembed.export.samples import encode_samples
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


def _asked_for_as_examples(folder, graph):
    rows = []
    for data in next(
        Images(list(FILES.values())).batches(None, 99, 1 << 30, None)
    ).values:
        example = tf.train.Example()
        example.features.feature["image_bytes"].bytes_list.value.append(data)
        rows.append(example.SerializeToString())
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
