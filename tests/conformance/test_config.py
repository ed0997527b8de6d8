"""What is served changes: by a new config, and by new folders."""

import threading
import time

import pytest
from conformance.messages import predict, refused, reload, status
from conformance.models import write_numbered

AVAILABLE, END = 30, 50
MODEL = """
config {{
  name: "{name}" base_path: "{base}" model_platform: "tensorflow"
  model_version_policy {{ {policy} }} {labels}
}}
"""


def _model(name, base, policy="latest { num_versions: 1 }", **labels):
    written = [
        f'version_labels {{ key: "{label}" value: {version} }}'
        for label, version in labels.items()
    ]
    return MODEL.format(name=name, base=base, policy=policy, labels=" ".join(written))


def _config(*texts):
    return reload(f"model_config_list {{ {' '.join(texts)} }}")


@pytest.fixture
def usual(target):
    """The models that are served before and after, as texts of their config."""
    return [
        _model("forms", target.root / "forms"),
        _model(
            "numbered",
            target.root / "numbered",
            "specific { versions: 1 versions: 2 }",
            stable=1,
            canary=2,
        ),
    ]


@pytest.fixture
def reload_config(model_stub, usual):
    """Replaces the config, and brings the usual one back at the end."""
    yield lambda *texts: model_stub.HandleReloadConfigRequest(
        _config(*texts), timeout=120
    )
    model_stub.HandleReloadConfigRequest(_config(*usual), timeout=120)


def _versions(model_stub, name):
    answer = model_stub.GetModelStatus(status(name=name), timeout=60)
    return [(each.version, each.state) for each in answer.model_version_status]


def _until(holds):
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def _which(stub, name, **model):
    response = stub.Predict(predict("which", name, **model, x=[0.0]), timeout=60)
    return response.outputs["version"].int64_val[0]


def test_a_model_comes_and_goes(stub, model_stub, target, usual, reload_config):
    answer = reload_config(*usual, _model("spare", target.root / "spare"))
    assert answer.status.error_code == 0
    assert _which(stub, "spare") == 1
    assert list(stub.Predict(predict("one", x=[1.0])).outputs["y"].float_val) == [2.0]
    reload_config(*usual)
    refused(stub.Predict, predict("which", "spare", x=[0.0]), "NOT_FOUND")
    _until(lambda: _versions(model_stub, "spare") == [(1, END)])


def test_a_label_moves_between_loaded_versions(stub, target, usual, reload_config):
    base = target.root / "numbered"
    specific = "specific { versions: 1 versions: 2 }"
    assert _which(stub, "numbered", label="stable") == 1
    reload_config(usual[0], _model("numbered", base, specific, stable=2))
    assert _which(stub, "numbered", label="stable") == 2
    request = predict("which", "numbered", label="canary", x=[0.0])
    refused(stub.Predict, request, "INVALID_ARGUMENT", "label: canary")


def test_a_label_of_a_version_that_is_not_loaded(
    stub, model_stub, target, usual, reload_config
):
    specific = "specific { versions: 1 versions: 2 }"
    moved = _model("numbered", target.root / "numbered", specific, stable=3)
    refused(
        model_stub.HandleReloadConfigRequest,
        _config(usual[0], moved),
        "FAILED_PRECONDITION",
        "label to version 3 of model numbered",
        "not currently available for inference",
    )
    assert _which(stub, "numbered", label="stable") == 1


def test_version_policies(stub, model_stub, target, usual, reload_config):
    base = target.root / "numbered"

    def serves(*versions):
        available = [
            version
            for version, state in _versions(model_stub, "numbered")
            if state == AVAILABLE
        ]
        return available == list(versions)

    for policy, versions in [
        ("all {}", (3, 2, 1)),
        ("latest { num_versions: 2 }", (3, 2)),
        ("latest {}", (3,)),
        ("specific { versions: 1 }", (1,)),
    ]:
        reload_config(usual[0], _model("numbered", base, policy))
        _until(lambda versions=versions: serves(*versions))
        assert _which(stub, "numbered") == versions[0]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (
            lambda root: [_model("a", root / "spare")] * 2,
            "INVALID_ARGUMENT",
            ["Illegal to list model a multiple times"],
        ),
        (
            lambda root: [_model("a", "relative/path")],
            "INVALID_ARGUMENT",
            ["Expected model a to have an absolute path"],
        ),
        (
            lambda root: [_model("a", root).replace('"tensorflow"', '"torch"')],
            "INVALID_ARGUMENT",
            ["Model a requests unsupported platform torch"],
        ),
        (
            lambda root: [_model("a", root).replace('"tensorflow"', '""')],
            "INVALID_ARGUMENT",
            ["model name is a"],
        ),
    ],
)
def test_a_config_that_is_refused_changes_nothing(
    stub, model_stub, target, usual, reload_config, change, code, words
):
    request = _config(*usual, *change(target.root))
    refused(model_stub.HandleReloadConfigRequest, request, code, *words)
    assert _which(stub, "numbered", label="canary") == 2
    assert list(stub.Predict(predict("one", x=[1.0])).outputs["y"].float_val) == [2.0]


@pytest.mark.parametrize("folder", ["broken", "cold"])
def test_a_model_that_does_not_load(
    stub, model_stub, target, usual, reload_config, folder
):
    request = _config(*usual, _model(folder, target.root / folder))
    refused(
        model_stub.HandleReloadConfigRequest, request, "UNKNOWN", "become available"
    )
    assert list(stub.Predict(predict("one", x=[1.0])).outputs["y"].float_val) == [2.0]
    refused(stub.Predict, predict("which", folder, x=[0.0]), "NOT_FOUND")


def test_a_config_must_be_a_list(model_stub):
    refused(
        model_stub.HandleReloadConfigRequest,
        reload(""),
        "INVALID_ARGUMENT",
        "Only ModelConfigList is currently supported",
    )


def test_versions_switch_under_load(stub, model_stub, target, usual, reload_config):
    """No request fails, and no version is answered after a later one."""
    base = target.root / "moving"
    base.mkdir(exist_ok=True)
    first = max((int(path.name) for path in base.glob("[0-9]*")), default=0) + 1
    write_numbered(base, first)
    reload_config(*usual, _model("moving", base))
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
        _until(
            lambda number=number: (
                failures or (number, AVAILABLE) in _versions(model_stub, "moving")
            )
        )
    time.sleep(0.05)
    stopped.set()
    for thread in threads:
        thread.join()
    assert not failures
    for versions in seen:
        assert versions == sorted(versions)
        assert versions[-1] == last
    _until(
        lambda: (
            _versions(model_stub, "moving")
            == [(last, AVAILABLE)]
            + [(number, END) for number in range(last - 1, first - 1, -1)]
        )
    )
