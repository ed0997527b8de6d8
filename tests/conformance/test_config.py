"""What is served changes: by a new config, and by new folders.

A server answers a new config before it has let go what is no longer in it, so whatever
is to be gone, or changed, is waited for. Nothing here is asked that ends a real server
or leaves it unable to take another config (an empty platform, a base path that is
missing): what the local server says to that is in `tests/serving`.
"""

import threading

import pytest
from conformance.messages import (
    AVAILABLE,
    available_versions,
    model_text,
    predict,
    refused,
    reload,
    reload_models,
    status,
    until,
    version_states,
    which_version,
)
from conformance.models import BROKEN_RECORD, write_numbered
from tensorflow_serving.apis import get_model_status_pb2

LOADING, END = 20, 50


def test_a_model_comes_and_goes(stub, model_stub, target, usual, reload_config):
    answer = reload_config(*usual, model_text("spare", target.root / "spare"))
    assert answer.status.error_code == 0
    assert which_version(stub, "spare") == 1  # a new model is waited for by the server
    assert list(stub.Predict(predict("one", x=[1.0])).outputs["y"].float_val) == [2.0]
    reload_config(*usual)
    until(lambda: which_version(stub, "spare") is None)
    refused(stub.Predict, predict("which", "spare", x=[0.0]), "NOT_FOUND")
    until(lambda: version_states(model_stub, "spare") == [(1, END)])


def test_a_label_moves_between_loaded_versions(stub, target, usual, reload_config):
    base = target.root / "numbered"
    specific = "specific { versions: 1 versions: 2 }"
    assert which_version(stub, "numbered", label="stable") == 1
    reload_config(usual[0], model_text("numbered", base, specific, stable=2))
    until(lambda: which_version(stub, "numbered", label="stable") == 2)
    until(lambda: which_version(stub, "numbered", label="canary") is None)
    request = predict("which", "numbered", label="canary", x=[0.0])
    refused(stub.Predict, request, "INVALID_ARGUMENT", "label: canary")


def test_a_label_of_a_version_that_is_not_loaded(
    stub, model_stub, target, usual, reload_config
):
    specific = "specific { versions: 1 versions: 2 }"
    moved = model_text("numbered", target.root / "numbered", specific, stable=3)
    refused(
        model_stub.HandleReloadConfigRequest,
        reload_models(usual[0], moved),
        "FAILED_PRECONDITION",
        "label to version 3 of model numbered",
        "not currently available for inference",
    )
    assert which_version(stub, "numbered", label="stable") == 1


def test_version_policies(stub, model_stub, target, usual, reload_config):
    base = target.root / "numbered"
    for policy, versions in [
        ("all {}", [3, 2, 1]),
        ("latest { num_versions: 2 }", [3, 2]),
        ("latest {}", [3]),
        ("specific { versions: 1 }", [1]),
    ]:
        reload_config(usual[0], model_text("numbered", base, policy))

        def is_served(versions=versions):
            available = available_versions(model_stub, "numbered")
            return available == versions and (
                which_version(stub, "numbered") == versions[0]
            )

        until(is_served)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (
            lambda root: [model_text("a", root / "spare")] * 2,
            "INVALID_ARGUMENT",
            ["Illegal to list model a multiple times"],
        ),
        (
            lambda root: [model_text("a", "relative/path")],
            "INVALID_ARGUMENT",
            ["Expected model a to have an absolute path"],
        ),
        (
            lambda root: [model_text("a", root).replace('"tensorflow"', '"torch"')],
            "INVALID_ARGUMENT",
            ["Model a requests unsupported platform torch"],
        ),
    ],
)
def test_a_config_that_is_refused_changes_nothing(
    stub, model_stub, target, usual, reload_config, change, code, words
):
    request = reload_models(*usual, *change(target.root))
    refused(model_stub.HandleReloadConfigRequest, request, code, *words)
    assert which_version(stub, "numbered", label="canary") == 2
    assert which_version(stub, "a") is None
    assert list(stub.Predict(predict("one", x=[1.0])).outputs["y"].float_val) == [2.0]


@pytest.mark.parametrize("folder", ["broken", "cold"])
def test_a_model_that_does_not_load(
    stub, model_stub, channel, target, usual, reload_config, folder
):
    request = reload_models(*usual, model_text(folder, target.root / folder))
    said = refused(
        model_stub.HandleReloadConfigRequest, request, "UNKNOWN", "become available"
    )
    assert list(stub.Predict(predict("one", x=[1.0])).outputs["y"].float_val) == [2.0]
    refused(stub.Predict, predict("which", folder, x=[0.0]), "NOT_FOUND")
    if folder == "cold":  # the record is quoted as it is, UTF-8 or not
        quoted = b"Failed to parse warmup record: " + BROKEN_RECORD + b" from "
        assert "is no PredictionLog from " in said
        method = "/tensorflow.serving.ModelService/GetModelStatus"
        ask = channel.unary_unary(
            method, get_model_status_pb2.GetModelStatusRequest.SerializeToString
        )
        until(lambda: quoted in ask(status(name=folder), timeout=60))


def test_a_config_must_be_a_list(model_stub):
    refused(
        model_stub.HandleReloadConfigRequest,
        reload(""),
        "INVALID_ARGUMENT",
        "Only ModelConfigList is currently supported",
    )


def _next_version(base):
    """Returns a number above those that earlier runs left in a folder."""
    base.mkdir(exist_ok=True)
    return max((int(path.name) for path in base.glob("[0-9]*")), default=0) + 1


def test_of_three_versions_the_oldest_goes_before_the_newest_comes(
    model_stub, target, usual, reload_config
):
    base = target.root / "window"
    first = _next_version(base)
    for number in (first, first + 1):
        write_numbered(base, number)
    reload_config(*usual, model_text("window", base, "latest { num_versions: 2 }"))
    until(lambda: available_versions(model_stub, "window") == [first + 1, first])
    write_numbered(base, first + 2)

    def has_moved_on():
        states = dict(version_states(model_stub, "window"))
        newest, oldest = states.get(first + 2), states[first]
        assert not (newest in (LOADING, AVAILABLE) and oldest == AVAILABLE)
        return newest == AVAILABLE and states[first + 1] == AVAILABLE

    until(has_moved_on)


def test_versions_switch_under_load(stub, model_stub, target, usual, reload_config):
    """No request fails, and no version is answered after a later one."""
    base = target.root / "moving"
    first = _next_version(base)
    write_numbered(base, first)
    reload_config(*usual, model_text("moving", base))
    stopped, failures, seen = threading.Event(), [], [[], []]

    def ask(into):
        while not stopped.is_set():
            try:
                request = predict("which", "moving", x=[0.0] * 8)
                response = stub.Predict(request, timeout=60)
            except Exception as error:
                failures.append(error)
                return
            answered = set(response.outputs["version"].int64_val)
            into.append(response.model_spec.version.value)
            assert answered == {into[-1]}

    threads = [threading.Thread(target=ask, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    last = first + 5
    for number in range(first + 1, last + 1):
        write_numbered(base, number)
        until(
            lambda number=number: (
                failures or (number, AVAILABLE) in version_states(model_stub, "moving")
            )
        )
    until(lambda: failures or all(into[-1:] == [last] for into in seen))
    stopped.set()
    for thread in threads:
        thread.join()
    assert not failures
    for versions in seen:
        assert versions == sorted(versions)
        assert versions[-1] == last
    until(
        lambda: (
            version_states(model_stub, "moving")
            == [(last, AVAILABLE)]
            + [(number, END) for number in range(last - 1, first - 1, -1)]
        )
    )
