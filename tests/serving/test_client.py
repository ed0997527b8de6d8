"""The client: the same answers by both protocols, and errors that say what to do."""

import concurrent.futures
import json
import pathlib
import socket
import threading
import time

import numpy as np
import pytest
import small_model

from tfembed.serving import (
    Client,
    DeadlineExceeded,
    InvalidRequest,
    LocalServer,
    NotFound,
    ServerUnavailable,
    ServingError,
)


def _expected(images, k):
    scores = small_model.expected_scores(images)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    _, ids, labels = small_model.gallery()
    return ids[rows], labels[rows], np.take_along_axis(scores, rows, 1)


@pytest.mark.parametrize("form", ["bytes", "paths", "uint8", "float32", "list"])
def test_search_in_every_form(client, form, tmp_path):
    images = small_model.images(5)
    given = {
        "uint8": images,
        "float32": images.astype(np.float32),
        "list": list(images),
        "bytes": [small_model.png(image) for image in images],
    }.get(form)
    if form == "paths":
        given = [tmp_path / f"{index}.png" for index in range(len(images))]
        for path, image in zip(given, images):
            path.write_bytes(small_model.png(image))
        given[0] = str(given[0])
    result = client.search(given, k=3)
    ids, labels, scores = _expected(images, 3)
    assert result.ids.tolist() == ids.tolist()
    assert result.labels.tolist() == labels.tolist()
    np.testing.assert_allclose(result.scores, scores, atol=1e-5)
    assert result.scores.dtype == np.float32
    assert result.vote.tolist() == labels[:, 0].tolist()
    assert result.vote_probability.dtype == np.float32
    assert result.known.tolist() == (scores[:, 0] > 0.5).tolist()
    assert result.known.dtype == result.valid.dtype == bool
    assert result.valid.all() and len(result) == 5


def test_both_protocols_give_the_same(server):
    floats = small_model.images(7).astype(np.float32) * 0.987
    encoded = [small_model.png(image) for image in small_model.images(6)] + [b"junk"]
    answers = []
    for address in (server.grpc_address, server.rest_address):
        with Client(address) as client:
            answers.append(
                [client.search(floats), client.search(encoded), client.embed(floats)]
            )
            answers[-1].append(client.metadata())
            answers[-1].append(client.status())
    for ours, theirs in zip(*[answer[:3] for answer in answers]):
        for name in ours.__dataclass_fields__:
            one, other = getattr(ours, name), getattr(theirs, name)
            np.testing.assert_array_equal(one, other, name)
            assert one.dtype.kind == other.dtype.kind
    assert answers[0][3] == answers[1][3]
    assert answers[0][4] == answers[1][4]


def test_one_image_is_a_batch_of_one(client):
    image = small_model.images(1)[0]
    for given in (image, image[None], small_model.png(image)):
        assert len(client.search(given)) == 1
    assert client.embed(image).embeddings.shape == (1, small_model.DIM)


def test_images_are_sent_in_batches(address):
    images = small_model.images(11)
    with Client(address) as whole, Client(address, batch_size=4) as parts:
        sizes = []
        send = parts._transport.predict

        def count(name, version, signature, inputs, specs):
            sizes.append(len(inputs["images"]))
            return send(name, version, signature, inputs, specs)

        parts._transport.predict = count
        one, other = whole.search(images), parts.search(images)
    assert sizes == [4, 4, 3]
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


def test_an_image_that_is_none_is_not_valid(client):
    good = small_model.png(small_model.images(1)[0])
    assert client.embed([good, b"junk", good]).valid.tolist() == [True, False, True]


def test_metadata_and_status(client):
    metadata = client.metadata()
    assert (metadata.name, metadata.version) == ("model", 7)
    assert "__saved_model_init_op" not in metadata.signatures
    images = metadata.signatures["search_images"].inputs["images"]
    assert (images.dtype, images.shape) == ("float32", (None, 6, 5, 3))
    assert metadata.signatures["scalar"].outputs["total"].shape == ()
    assert metadata.signatures["two"].inputs["b"].dtype == "int64"
    (status,) = client.status()
    assert (status.version, status.state, status.error_code) == (7, "AVAILABLE", "OK")


def test_any_signature(client):
    outputs = client.predict({"x": np.float32([1, 2])}, "one")
    assert outputs["y"].tolist() == [2.0, 4.0] and outputs["y"].dtype == np.float32


def test_a_version_can_be_pinned(address):
    images = small_model.images(2)
    with Client(address, version=7) as client:
        assert len(client.search(images)) == 2
    with Client(address, version=3) as client:
        with pytest.raises(NotFound, match=r"version 3.*Specific\(model, 3\)"):
            client.search(images)


def test_refusals_say_what_to_do(address):
    images = small_model.images(1)
    with Client(address, name="other") as client:
        with pytest.raises(NotFound, match="'other'.*Check `name`") as caught:
            client.search(images)
        assert caught.value.code == "NOT_FOUND"
        assert caught.value.detail.startswith("Servable not found for request")
    with Client(address) as client:
        with pytest.raises(InvalidRequest, match="nope.*`metadata"):
            client.predict({"x": np.float32([1])}, "nope")
        with pytest.raises(InvalidRequest, match="x is not positive"):
            client.predict({"x": np.float32([-1])}, "failing")


@pytest.mark.parametrize(
    ("images", "error", "said"),
    [
        (np.zeros([6, 4, 3], np.uint8), ValueError, r"size \(6, 5, 3\).*\(6, 4, 3\)"),
        (np.full([6, 5, 3], 256.0), ValueError, "from 0 to 255.*256"),
        (np.full([6, 5, 3], np.nan), ValueError, "from 0 to 255.*nan"),
        (np.zeros([6, 5, 3], bool), TypeError, "dtype=bool"),
        (np.zeros([0, 6, 5, 3]), ValueError, "at least one image"),
        ([], ValueError, "at least one image"),
        ("absent.png", ValueError, "absent.png.*No such file"),
        ([3], TypeError, "paths, bytes or NumPy arrays"),
        (3, TypeError, "Received: int"),
        (["a.png", b"a"], TypeError, "all of one kind. Received: a list of bytes, str"),
    ],
)
def test_bad_images_get_a_sentence(client, images, error, said):
    with pytest.raises(error, match=said):
        client.search(images)


def test_bad_arguments_get_a_sentence(client, server):
    images = small_model.images(1)
    for k in (0, -1, 1.5):
        with pytest.raises(ValueError, match="`k` must be an integer above 0"):
            client.search(images, k=k)
    with pytest.raises(ValueError, match="from 1 to 4.*k=5"):
        client.search(images, k=5)
    for address in ("localhost", "ftp://a:1", "a:b", "", "http://", 8500):
        with pytest.raises(ValueError, match="`address` must be"):
            Client(address)
    with pytest.raises(ValueError, match="`batch_size`"):
        Client(server.grpc_address, batch_size=0)
    with pytest.raises(ValueError, match="`timeout`"):
        Client(server.grpc_address, timeout=0)


@pytest.mark.parametrize("prefix", ["", "grpc://", "http://"])
def test_an_absent_server(prefix):
    with socket.socket() as taken:  # bound, but nothing listens
        taken.bind(("127.0.0.1", 0))
        address = f"{prefix}127.0.0.1:{taken.getsockname()[1]}"
        begun = time.monotonic()
        with Client(address, timeout=5.0) as client:
            with pytest.raises(ServerUnavailable, match="python -m tfembed.serving"):
                client.search([b"image"])
        assert time.monotonic() - begun < 5.5


@pytest.mark.parametrize("prefix", ["", "http://"])
def test_a_server_that_never_answers(prefix):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"{prefix}127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        with Client(address, timeout=1.0) as client:
            with pytest.raises((DeadlineExceeded, ServerUnavailable)):
                client.search([b"image"])
        assert time.monotonic() - begun < 4.0


def test_the_wrong_port_is_told(server):
    rest, grpc = server.rest_address.partition("//")[2], server.grpc_address
    for address in (rest, f"http://{grpc}"):
        with Client(address, timeout=5.0) as client:
            with pytest.raises(ServingError, match="gRPC wants HOST:PORT"):
                client.search([b"image"])


def test_many_at_once(address):
    images = small_model.images(24)
    expected, _, _ = _expected(images, small_model.K)
    with Client(address, batch_size=3, timeout=120) as client:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: client.search(images), range(24)))
    for result in results:
        assert result.ids.tolist() == expected.tolist()


def test_a_newer_version_takes_over_without_a_failed_request(tmp_path):
    small_model.write_model(str(tmp_path), 1, "one/")
    image = small_model.png(small_model.images(1)[0])
    seen, failed, done = [], [], threading.Event()
    with LocalServer(tmp_path, port=0, rest_port=0, poll_seconds=0.05) as server:

        def ask(address):
            with Client(address, timeout=60) as client:
                while not done.is_set():
                    try:
                        seen.append(client.search(image).ids[0, 0].partition("/")[0])
                    except ServingError as error:
                        failed.append(error)

        addresses = (server.grpc_address, server.rest_address)
        askers = [threading.Thread(target=ask, args=(each,)) for each in addresses]
        for asker in askers:
            asker.start()
        small_model.write_model(str(tmp_path), 2, "two/")
        until = time.monotonic() + 60
        while seen[-1:] != ["two"] and time.monotonic() < until:
            time.sleep(0.05)
        done.set()
        for asker in askers:
            asker.join()
        with Client(server.rest_address) as client:
            states = [(each.version, each.state) for each in client.status()]
    assert not failed
    assert set(seen) == {"one", "two"}
    assert states == [(2, "AVAILABLE"), (1, "END")]


def test_rest_needs_no_tensorflow(server, tmp_path, run_python):
    path = tmp_path / "a.png"
    path.write_bytes(small_model.png(small_model.images(1)[0]))
    script = (
        "import json, sys\n"
        "from tfembed.serving import Client\n"
        f"result = Client({server.rest_address!r}).search({str(path)!r})\n"
        "loaded = [m for m in ('tensorflow', 'keras', 'grpc') if m in sys.modules]\n"
        "print(json.dumps([result.ids[0].tolist(), loaded]))\n"
    )
    ids, loaded = json.loads(run_python("-c", script).stdout)
    assert ids == _expected(small_model.images(1), small_model.K)[0][0].tolist()
    assert loaded == []


def test_the_room_needs_no_keras_and_no_training_code():
    room = pathlib.Path(small_model.__file__).parents[2] / "tfembed" / "serving"
    for path in room.glob("*.py"):
        text = path.read_text()
        assert "keras" not in text.replace("Keras", ""), path
        for line in text.splitlines():
            if line.lstrip().startswith(("from tfembed", "import tfembed")):
                assert "tfembed.serving" in line, (path, line)
