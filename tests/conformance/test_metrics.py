"""What Prometheus reads."""

import re

import grpc
import pytest
from conformance.messages import metadata, model_text, predict, status, until

PATH = "/monitoring/prometheus/metrics"


def _value(text, name, **labels):
    """Sums a metric over all its lines that have these labels."""
    total = 0.0
    for line in text.splitlines():
        match = re.fullmatch(rf"{re.escape(name)}\{{(.*)\}} (\S+)", line)
        if match:
            have = dict(re.findall(r'(\w+)="([^"]*)"', match[1]))
            if labels.items() <= have.items():
                total += float(match[2])
    return total


def test_requests_are_counted_and_timed(http, stub, model_stub):
    def now():
        """What was counted of the model."""
        answer = http("GET", PATH)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.text
        return {
            "ok": _value(
                text,
                ":tensorflow:serving:request_count",
                model_name="forms",
                status="OK",
            ),
            "bad": _value(
                text,
                ":tensorflow:serving:request_count",
                model_name="forms",
                status="FAILED_PRECONDITION",
            ),
            "grpc": _value(
                text,
                ":tensorflow:serving:request_latency_count",
                model_name="forms",
                API="Predict",
                entrypoint="GRPC",
            ),
            "rest": _value(
                text,
                ":tensorflow:serving:request_latency_count",
                model_name="forms",
                API="predict",
                entrypoint="REST",
            ),
            "other": _value(
                text,
                ":tensorflow:serving:request_latency_count",
                model_name="forms",
                API="",
                entrypoint="REST",
            ),
        }

    before = now()
    stub.Predict(predict("one", x=[1.0]), timeout=60)
    http("POST", "/v1/models/forms:predict", {"instances": [1]})
    with pytest.raises(grpc.RpcError):
        stub.Predict(predict("nope", x=[1.0]), timeout=60)
    # Of what is not Predict, Classify or Regress, only REST is counted.
    model_stub.GetModelStatus(status(name="forms"), timeout=60)
    stub.GetModelMetadata(metadata("signature_def", name="forms"), timeout=60)
    http("GET", "/v1/models/forms")
    wanted = {"ok": 3, "bad": 1, "grpc": 1, "rest": 1, "other": 1}

    def counted():
        after = now()
        return {key: after[key] - before[key] for key in after} == wanted

    until(counted)


def test_warm_up_is_timed(http, target, usual, reload_config):
    path = f"{target.root}/spare/1"

    def replayed():
        name = ":tensorflow:serving:model_warmup_latency_count"
        return _value(http("GET", PATH).text, name, model_path=path, status="OK")

    before = replayed()
    reload_config(*usual, model_text("spare", target.root / "spare"))
    until(lambda: replayed() == before + 1)


def test_the_path_has_no_arguments(http):
    answer = http("GET", PATH + "?x=1")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text == f"Unexpected path: {PATH}?x=1. Should be {PATH}"
