"""The client: the same answers by both protocols, and errors that say what to do."""

import concurrent.futures
import json
import pathlib
import re
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
from tfembed.serving.grpc_transport import GrpcTransport
from tfembed.serving.rest_transport import RestTransport


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


@pytest.fixture
def sent(monkeypatch):
    """The arguments of each call of a transport, as it was made."""
    calls = []
    for transport in (GrpcTransport, RestTransport):

        def call(self, *arguments, timeout, original=transport.call):
            calls.append(arguments)
            return original(self, *arguments, timeout=timeout)

        monkeypatch.setattr(transport, "call", call)
    return calls


def _sizes(sent, key="images"):
    return [len(each[3][key]) for each in sent if each[0] == "predict"]


def test_images_are_sent_in_batches(address, sent):
    images = small_model.images(11)
    with Client(address) as whole, Client(address, batch_size=4) as parts:
        one, other = whole.search(images), parts.search(images)
        listed = parts.search(list(images))
    assert _sizes(sent) == [11, 4, 4, 3, 4, 4, 3]
    for each in (other, listed):
        np.testing.assert_array_equal(one.ids, each.ids)
        np.testing.assert_allclose(one.scores, each.scores, atol=1e-6)


def test_a_batch_has_no_more_bytes_than_allowed(address, sent):
    files = [small_model.png(image) for image in small_model.images(5)]
    most = max(map(len, files)) * 2.5 / 1e6
    with Client(address, batch_megabytes=most) as client:
        assert client.embed(files).valid.all()
    assert _sizes(sent, "image_bytes") == [2, 2, 1]
    sent.clear()
    with Client(address, batch_megabytes=1e-6) as client:
        assert len(client.embed(files[:2])) == 2
    assert _sizes(sent, "image_bytes") == [1, 1]
    sent.clear()
    with Client(
        address, batch_megabytes=3.5e-6 * 4 * small_model.images(1).size
    ) as client:
        client.embed(small_model.images(5))
    assert _sizes(sent) == [3, 2]


def test_a_generator_is_read_no_further_than_needed(address):
    read = []

    def files():
        for index, image in enumerate(small_model.images(9)):
            read.append(index)
            yield small_model.png(image)

    with Client(address, batch_size=3) as client:
        results = client.search_many(files(), k=2)
        assert read == []
        first = next(results)
        assert len(read) <= 4 and len(first) == 1 and first.ids.shape == (1, 2)
        others = list(results)
        whole = client.search(files(), k=2)
        embedded = [each.embeddings[0] for each in client.embed_many(files())]
    found = [each.ids[0].tolist() for each in [first, *others]]
    assert (
        found == whole.ids.tolist() == _expected(small_model.images(9), 2)[0].tolist()
    )
    assert np.shape(embedded) == (9, small_model.DIM)


def test_rows_of_a_result(client):
    result = client.search(small_model.images(4))
    assert result[1].ids.tolist() == result.ids[1:2].tolist()
    assert result[-1].vote.tolist() == result.vote[-1:].tolist()
    assert len(result[1:3]) == 2 and len(result[[0, 3, 3]]) == 3
    with pytest.raises(IndexError):
        result[4]


def test_progress(address, capsys):
    files = [small_model.png(image) for image in small_model.images(5)]
    told = []
    with Client(address, batch_size=2) as client:
        client.search(files, progress=lambda *done: told.append(done))
        client.search(iter(files), progress=lambda *done: told.append(done))
        client.embed(small_model.images(3), progress=lambda *done: told.append(done))
        client.embed(files, progress=True)
        with pytest.raises(TypeError, match="`progress` must be"):
            client.embed(files, progress=3)
    assert told[:3] == [(2, 5), (4, 5), (5, 5)]
    assert told[3:6] == [(2, None), (4, None), (5, None)]
    assert told[6:] == [(2, 3), (3, 3)]
    error = capsys.readouterr().err
    assert error.rpartition("\r")[2].startswith("5 of 5 images, ")
    assert error.endswith(" a second\n")


def test_an_image_that_declares_too_much_is_named(address, sent, tmp_path):
    good = small_model.png(small_model.images(1)[0])
    width = (9000).to_bytes(4, "big")
    huge = tmp_path / "huge.png"
    huge.write_bytes(good[:16] + width * 2 + good[24:])
    (tmp_path / "a.png").write_bytes(good)
    with Client(address) as client:
        with pytest.raises(ValueError, match=r"huge\.png, which declares 9000 x 9000"):
            client.search([tmp_path / "a.png", huge])
        with pytest.raises(ValueError, match="image 1, which declares"):
            client.embed([good, huge.read_bytes()])
    assert sent == []
    with Client(address, max_megapixels=None) as client:
        with pytest.raises(InvalidRequest, match="max_megapixels.*told which"):
            client.search([tmp_path / "a.png", huge])


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
        ([3], TypeError, "paths, bytes, open files, Pillow.s pictures or arrays"),
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
        with pytest.raises(ValueError, match="`k` must be a positive integer"):
            client.search(images, k=k)
    with pytest.raises(ValueError, match="from 1 to 4.*k=5"):
        client.search(images, k=5)
    for address in ("localhost", "ftp://a:1", "a:b", "", "http://", 8500):
        with pytest.raises(ValueError, match="`address` must be"):
            Client(address)
    with pytest.raises(ValueError, match="`batch_size`"):
        Client(server.grpc_address, batch_size=0)
    for arguments, said in (
        ({"timeout": 0}, "`timeout` must be a positive number of seconds"),
        ({"timeout": "1"}, "`timeout` must be a positive number of seconds"),
        ({"retries": -1}, "`retries` must be an integer of at least 0"),
        ({"batch_megabytes": 0}, "`batch_megabytes` must be a positive number"),
        ({"max_megapixels": -1}, "`max_megapixels` must be a positive number"),
        ({"version": 1, "label": "a"}, "not to both"),
        ({"version": "1"}, "`version` must be an integer of at least 0, the number"),
        ({"label": "a/b"}, "`label` must be a label"),
        ({"name": ""}, "`name` must be the name"),
    ):
        with pytest.raises(ValueError, match=said):
            Client(server.grpc_address, **arguments)


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


class Dropper:
    """A way to a server that closes the first connections as soon as they speak."""

    def __init__(self, address, drops):
        host, _, port = address.rpartition("//")[2].rpartition(":")
        self._target, self.left = (host, int(port)), drops
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.dropped = 0
        scheme = "http://" if "//" in address else ""
        self.address = f"{scheme}127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            if self.left > self.dropped:
                self.dropped += 1
                near.recv(1 << 16)
                near.close()
                continue
            far = socket.create_connection(self._target)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other)).start()

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self._socket.close()


@pytest.fixture
def drop(address):
    """Function of a number of connections that returns a `Dropper` for the server."""
    made = []

    def make(drops):
        made.append(Dropper(address, drops))
        return made[-1]

    yield make
    for dropper in made:
        dropper.close()


def test_what_cannot_be_reached_is_asked_again(drop):
    image = small_model.png(small_model.images(1)[0])
    way = drop(2)
    with Client(way.address, timeout=30, retries=9) as client:
        assert client.embed(image).valid.all()
    assert way.dropped == 2
    way = drop(99)
    with Client(way.address, retries=0) as client, pytest.raises(ServerUnavailable):
        client.embed(image)
    assert way.dropped == 1
    with Client(way.address, timeout=0.5, retries=99) as client:
        begun = time.monotonic()
        with pytest.raises((ServerUnavailable, DeadlineExceeded)):
            client.embed(image)
        assert time.monotonic() - begun < 3.0


def test_what_may_do_something_twice_is_not_asked_again(drop, sent):
    inputs = {"x": np.float32([1])}
    with Client(drop(99).address, retries=5) as client:
        with pytest.raises(ServerUnavailable):
            client.predict(inputs, "one")
        assert len(sent) == 1
        with pytest.raises(ServerUnavailable):
            client.predict(inputs, "one", retry=True)
        assert len(sent) == 7


def test_what_was_refused_is_not_asked_again(address, sent):
    with Client(address, retries=5) as client:
        with pytest.raises(InvalidRequest):
            client.predict({"x": np.float32([-1])}, "failing", retry=True)
    assert len(sent) == 1


def test_a_connection_is_used_again(drop):
    way = drop(0)
    with Client(way.address) as client:
        for image in small_model.images(5):
            client.embed(image)
        accepted = threading.active_count()
        for image in small_model.images(5):
            client.embed(image)
        assert threading.active_count() == accepted


@pytest.mark.thin(2)
def test_large_messages(address):
    values = np.arange(3_000_000, dtype=np.float32)  # 12 MB; gRPC's default is 4
    with Client(address, timeout=120) as client:
        outputs = client.predict({"x": values}, "one")
    np.testing.assert_array_equal(outputs["y"], values * 2)


def test_an_image_size_that_changed_is_asked_for_again(tmp_path):
    small_model.write_model(str(tmp_path), 1)
    with LocalServer(tmp_path, port=0, rest_port=0) as server:
        for address in (server.grpc_address, server.rest_address):
            with Client(address) as client:
                shape = (None, small_model.HEIGHT, small_model.WIDTH + 1, 3)
                metadata = client.metadata()
                inputs = metadata.signatures["search_images"].inputs
                inputs["images"] = type(inputs["images"])("float32", shape)
                client._questions._metadata = metadata  # as of a former version
                assert len(client.search(small_model.images(2))) == 2


def test_rest_needs_no_tensorflow(server, tmp_path, run_python):
    path = tmp_path / "a.png"
    path.write_bytes(small_model.png(small_model.images(1)[0]))
    script = (
        "import json, sys\n"
        "from tfembed.serving import Client\n"
        f"client = Client({server.rest_address!r})\n"
        f"result = client.search({str(path)!r})\n"
        f"client.embed(client.search_many([{str(path)!r}]) and {str(path)!r})\n"
        "loaded = [m for m in ('tensorflow', 'keras', 'grpc') if m in sys.modules]\n"
        "print(json.dumps([result.ids[0].tolist(), loaded]))\n"
    )
    ids, loaded = json.loads(run_python("-c", script).stdout)
    assert ids == _expected(small_model.images(1), small_model.K)[0][0].tolist()
    assert loaded == []


def test_the_room_needs_no_keras_and_no_training_code():
    room = pathlib.Path(small_model.__file__).parents[2] / "tfembed" / "serving"
    allowed = r"serving|formats|ops\.arguments|command_line|lazy_names|quiet_imports"
    for path in room.glob("*.py"):
        text = path.read_text()
        assert "keras" not in text.replace("Keras", ""), path
        for line in text.splitlines():
            if line.lstrip().startswith(("from tfembed", "import tfembed")):
                assert re.search(rf"tfembed\.({allowed})", line), (path, line)
