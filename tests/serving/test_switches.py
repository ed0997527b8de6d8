"""Galleries change while clients ask: no request fails, and no answer is mixed."""

import base64
import shutil
import threading
import time

import grpc
import numpy as np
import pytest
import requests
import small_model
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfembed.export.versions import new_version
from tfembed.serving import LocalServer

KEY = "/.ATTRIBUTES/VARIABLE_VALUE"
IMAGES = small_model.images(3)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A version that is never served, and what its variables hold."""
    path = tmp_path_factory.mktemp("template")
    small_model.write_model(str(path), 1)
    reader = tf.train.load_checkpoint(str(path / "1" / "variables" / "variables"))
    names = reader.get_variable_to_shape_map()
    return path / "1", {name: reader.get_tensor(name) for name in names}


def _gallery(number):
    """Returns ids that carry the version, and rows in an order of its own."""
    rows, ids, _ = small_model.gallery()
    return np.roll(rows, number, axis=0), [f"{number}:{name}" for name in ids]


def _publish(base, template, number):
    """Writes a version that differs from the others in its gallery alone."""
    folder, tensors = template
    rows, ids = _gallery(number)
    tensors = {**tensors, "rows" + KEY: rows, "ids" + KEY: np.array(ids, object)}
    with new_version(base) as version:
        shutil.copytree(folder, version.path, dirs_exist_ok=True)
        tf.raw_ops.SaveV2(
            prefix=str(version.path / "variables" / "variables"),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.constant(tensor) for tensor in tensors.values()],
        )
    assert version.number == number


def _expected(number):
    """Returns the ids and the scores of the right answer of a version."""
    _, ids = _gallery(number)
    scores = np.roll(small_model.expected_scores(IMAGES), number, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, : small_model.K]
    return np.array(ids)[order].tolist(), np.take_along_axis(scores, order, 1)


def _ask_grpc(address):
    """Yields the ids and scores of one request after another."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    request.model_spec.signature_name = "search_images"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(np.float32(IMAGES)))
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        while True:
            outputs = stub.Predict(request, timeout=60).outputs
            ids = tf.make_ndarray(outputs["ids"])
            yield np.char.decode(ids.astype(bytes)), tf.make_ndarray(outputs["scores"])


def _ask_rest(address):
    """Yields the ids and scores of one request after another."""
    data = [base64.b64encode(small_model.png(image)).decode() for image in IMAGES]
    with requests.Session() as session:
        session.trust_env = False
        while True:
            body = {"inputs": [{"b64": each} for each in data]}
            url = address + "/v1/models/model:predict"
            answer = session.post(url, json=body, timeout=60)
            assert answer.status_code == 200, answer.text
            outputs = answer.json()["outputs"]
            yield np.array(outputs["ids"]), np.array(outputs["scores"])


# The conformance suite switches versions under load, too; here galleries change.
@pytest.mark.slow
@pytest.mark.parametrize("switches", [3, 100])
def test_galleries_change_under_load(tmp_path, template, switches):
    base = tmp_path / "model"
    _publish(base, template, 1)
    stopped, failures, answers = threading.Event(), [], []

    def ask(stream, into):
        try:
            while not stopped.is_set():
                into.append(next(stream))
        except Exception as error:
            failures.append(error)

    with LocalServer(base, port=0, rest_port=0, poll_seconds=0.02) as server:
        streams = [_ask_grpc(server.grpc_address), _ask_rest(server.rest_address)]
        answers = [[] for _ in streams]
        threads = [
            threading.Thread(target=ask, args=pair) for pair in zip(streams, answers)
        ]
        for thread in threads:
            thread.start()
        try:
            for number in range(2, switches + 2):
                _publish(base, template, number)
                until = time.monotonic() + 60
                seen = [len(each) for each in answers]
                while not failures and time.monotonic() < until:
                    late = [each[-1][0][0, 0] for each in answers if each]
                    if len(late) == len(streams) and all(
                        name.startswith(f"{number}:") for name in late
                    ):
                        break
                    time.sleep(0.005)
                else:
                    pytest.fail(f"version {number} never answered: {failures}")
                assert all(len(each) > had for each, had in zip(answers, seen))
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
    assert not failures
    right = {number: _expected(number) for number in range(1, switches + 2)}
    for stream in answers:
        numbers = []
        for ids, scores in stream:
            numbers.append(int(ids[0, 0].partition(":")[0]))
            expected_ids, expected_scores = right[numbers[-1]]
            assert ids.tolist() == expected_ids
            np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
        assert numbers == sorted(numbers)
        assert numbers[-1] == switches + 1
