"""The client takes what people hold, one or many, and means one image by one thing."""

import asyncio
import io
import tempfile
import zipfile

import numpy as np
import pytest
import small_model
import tensorflow as tf
from PIL import Image

from tfembed.serving import AsyncClient, Client
from tfembed.serving.image_kinds import contents
from tfembed.serving.images import Images

COUNT = 3


def hold(folder):
    """`{what it is: list of the images of `small_model`, held so}`."""
    arrays = small_model.images(COUNT)
    files = [small_model.png(each) for each in arrays]
    paths = [folder / f"{row}.png" for row in range(COUNT)]
    archive = zipfile.ZipFile(io.BytesIO(), "w")
    for path, data in zip(paths, files):
        path.write_bytes(data)
        archive.writestr(path.name, data)
    spooled = [tempfile.SpooledTemporaryFile() for _ in files]
    for file, data in zip(spooled, files):
        file.write(data)
        file.seek(0)
    return {
        "str": list(map(str, paths)),
        "np.str_": list(np.array(list(map(str, paths)))),
        "Path": paths,
        "bytes": files,
        "bytearray": list(map(bytearray, files)),
        "memoryview": list(map(memoryview, files)),
        "BytesIO": list(map(io.BytesIO, files)),
        "open": [open(path, "rb") for path in paths],
        "unbuffered": [open(path, "rb", buffering=0) for path in paths],
        "GFile": [tf.io.gfile.GFile(str(path), "rb") for path in paths],
        "in a zip": [archive.open(path.name) for path in paths],
        "spooled": spooled,
        "string tensor": [tf.constant(data) for data in files],
        "picture": list(map(Image.fromarray, arrays)),
        "opened picture": list(map(Image.open, paths)),
        "array": list(arrays),
        "tensor": [tf.constant(each) for each in arrays],
        "variable": [tf.Variable(each.astype(np.float32)) for each in arrays],
        "memoryview of pixels": [memoryview(each) for each in arrays],
    }


@pytest.fixture
def held(tmp_path):
    """What `hold` returns, anew at each call; the files are closed in the end."""
    made = []

    def make():
        made.append(hold(tmp_path))
        return made[-1]

    yield make
    for each in made:
        for image in sum(each.values(), []):
            getattr(image, "close", lambda: None)()


def batches(images):
    """What is sent, as `(kind, values)` of all rows."""
    reader = Images(images)
    shape = small_model.images(1).shape[1:] if reader.takes_shape else None
    sent = list(reader.batches(shape, 2, 1 << 20, 1e6))
    return sent[0].kind, [row for each in sent for row in each.values]


def pixels(kind, values):
    """The arrays that were sent."""
    if kind == "images":
        return np.array(values)
    return np.array([tf.io.decode_png(each, 3) for each in values])


def test_one_and_many(held):
    wanted = small_model.images(COUNT)
    kinds = list(held())
    for many in (
        lambda images: images,
        tuple,
        iter,
        lambda images: dict(enumerate(images)).values(),
    ):
        for images in held().values():
            np.testing.assert_array_equal(pixels(*batches(many(images))), wanted)
    for kind in kinds:
        for row, one in enumerate(held()[kind]):
            found = pixels(*batches(one))
            np.testing.assert_array_equal(found, wanted[row : row + 1], kind)


def test_many_in_one(held):
    wanted, each = small_model.images(COUNT), held()
    objects = np.empty(COUNT, object)
    objects[:] = each["bytes"]
    pandas = pytest.importorskip("pandas")
    for many in (
        tf.constant(wanted),
        wanted,
        memoryview(wanted),
        tf.constant(each["bytes"]),
        objects,
        np.array(each["str"]),
        pandas.Series(each["str"]),
        pandas.Series(each["bytes"]),
        tf.data.Dataset.from_tensor_slices(each["bytes"]),
        tf.data.Dataset.from_tensor_slices(wanted),
    ):
        np.testing.assert_array_equal(pixels(*batches(many)), wanted)


def test_both_clients(server, held):
    """One open file has one answer, that of its image."""
    with Client(server.grpc_address) as client:
        wanted = client.search(small_model.images(COUNT)).ids.tolist()
        each = held()
        for kind in ("open", "BytesIO", "picture", "tensor"):
            assert client.search(each[kind][0]).ids.tolist() == wanted[:1]
            assert client.search(each[kind][1:]).ids.tolist() == wanted[1:]

    async def ask():
        async with AsyncClient(server.grpc_address) as client:
            return await client.search(held()["open"])

    assert asyncio.run(ask()).ids.tolist() == wanted


@pytest.mark.parametrize(
    ("images", "error", "said"),
    [
        ({"a.png": b""}, TypeError, "Received: dict, which has no order"),
        ({b"a", b"b"}, TypeError, "Received: set, which has no order"),
        ({}, TypeError, "Received: dict"),
        ([{"a.png": b""}], TypeError, "Received: a list of dict"),
        (io.StringIO("text"), TypeError, "which gives str. Open it with 'rb'"),
        (
            io.BytesIO(),
            ValueError,
            r"image 0', which is at its end. Call its seek\(0\)",
        ),
        ([b"a", io.BytesIO(b"a")], TypeError, "a list of BytesIO, bytes"),
        (iter([b"a", np.zeros((6, 5, 3))]), TypeError, "Received: bytes, ndarray"),
        (np.float32(3), TypeError, "Received: float32"),
        (None, TypeError, "Received: NoneType"),
        ([None], TypeError, "Received: a list of NoneType"),
        (iter([]), ValueError, "at least one image"),
        (Image.new("F", (5, 6)), ValueError, "its pixels are floats"),
    ],
)
def test_what_is_no_image(images, error, said):
    with pytest.raises(error, match=said):
        batches(images)


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(small_model.png(small_model.images(1)[0])[:60])
    with open(path, "rb") as closed:
        pass
    with pytest.raises(ValueError, match="open files that can be read.*a.png.*closed"):
        batches(closed)
    with pytest.raises(ValueError, match="pictures that can be read.*a.png"):
        batches(Image.open(path))
    with pytest.raises(ValueError, match=f"{tmp_path.name}.*irectory"):
        batches(str(tmp_path))


def test_a_picture_is_turned_upright_and_stays_as_it_is():
    array = small_model.images(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", exif=exif)
    picture = Image.open(buffer)
    sent = Image.open(io.BytesIO(contents(picture, 0)))
    np.testing.assert_array_equal(np.asarray(sent), np.rot90(array, -1))
    assert not sent.getexif()
    assert picture.getexif()[0x0112] == 6 and picture.size == (5, 6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_pictures_of_all_modes(mode):
    picture = Image.fromarray(small_model.images(1)[0]).convert(mode)
    found = tf.io.decode_image(contents(picture, 0), channels=4).numpy()
    wanted = np.asarray(picture.convert("RGBA"))
    np.testing.assert_array_equal(found, wanted)
