"""Versions that arrive in parts, and warm-up records that are broken."""

import shutil
import time

import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tfembed.serving import Client, LocalServer
from tfembed.serving.warmup import RECORDS


def _until(holds):
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def _serve(base, **options):
    return LocalServer(base, port=0, rest_port=0, poll_seconds=0.02, **options)


def _states(client):
    return [(each.version, each.state) for each in client.status()]


def _arrive(source, target, *names):
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name)


def test_a_version_that_arrives_file_by_file(model_dir, tmp_path):
    source, target = model_dir / "7", tmp_path / "2"
    shutil.copytree(source, tmp_path / "1")
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    assert len(files) >= 3
    with _serve(tmp_path, load_retry_seconds=0.2, max_num_load_retries=99) as server:
        with Client(server.grpc_address) as client:
            for name in sorted(files, key=lambda path: "data" in path.name):
                assert _states(client)[-1] == (1, "AVAILABLE")
                _arrive(source, target, name)
                _until(lambda: len(_states(client)) == 2)
            _until(lambda: _states(client) == [(2, "AVAILABLE"), (1, "END")])


@pytest.fixture(scope="module")
def spoilt(model_dir, tmp_path_factory):
    """A server of version 1, and of 2 and 3 that do not load."""
    base = tmp_path_factory.mktemp("spoilt")
    for number in "123":
        shutil.copytree(model_dir / "7", base / number)
        (base / number / RECORDS).parent.mkdir()
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "model"
    request.model_spec.signature_name = "one"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    with tf.io.TFRecordWriter(str(base / "1" / RECORDS)) as records:
        records.write(log.SerializeToString())
        records.write(log.SerializeToString())
    with tf.io.TFRecordWriter(str(base / "2" / RECORDS)) as records:
        records.write(b"\xff\xfe, no PredictionLog")
    whole = (base / "1" / RECORDS).read_bytes()
    (base / "3" / RECORDS).write_bytes(whole[:-9])
    config = base / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "model" base_path: "{base}" '
        'model_platform: "tensorflow" model_version_policy { all {} } } }'
    )
    with LocalServer(
        model_config_file=config, port=0, rest_port=0, max_num_load_retries=0
    ) as server:
        yield server


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_why_a_version_did_not_load(spoilt, protocol):
    address = spoilt.grpc_address if protocol == "grpc" else spoilt.rest_address
    with Client(address) as client:
        third, second, first = client.status()
    assert (first.state, first.error_code) == ("AVAILABLE", "OK")
    assert (second.state, second.error_code) == ("END", "INVALID_ARGUMENT")
    said = "Failed to parse warmup record: \ufffd\ufffd, no PredictionLog from "
    assert second.error_message.startswith(said)
    assert second.error_message.endswith("/2/" + RECORDS)
    assert (third.state, third.error_code) == ("END", "DATA_LOSS")
    said = ". Please verify your warmup data is in TFRecord format."
    assert third.error_message.endswith(said) and len(third.error_message) > len(said)


def test_warm_up_is_measured(spoilt):
    path = spoilt.rest_address + "/monitoring/prometheus/metrics"
    lines = requests.get(path, timeout=30).text.splitlines()
    name = ":tensorflow:serving:model_warmup_"
    found = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith((name + "latency_count", name + "records_read"))
    }
    counts = {}
    for key, value in found.items():
        number = key.partition('model_path="')[2].partition('"')[0][-2:]
        status = key.partition('status="')[2][:9]
        counts[key.partition("{")[0][len(name) :], number, status.strip('"}')] = value
    assert counts == {
        ("latency_count", "/1", "OK"): 1.0,
        ("records_read", "/1", "OK"): 2.0,
        ("latency_count", "/3", "DATA_LOSS"): 1.0,
        ("records_read", "/3", "DATA_LOSS"): 1.0,
    }


def test_a_count_that_makes_no_sense(model_dir):
    for name in ("max_num_load_retries", "load_retry_seconds"):
        with pytest.raises(
            ValueError, match=f"`{name}` must be .* of at least 0. Received"
        ):
            LocalServer(model_dir, **{name: -1})
