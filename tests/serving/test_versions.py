"""Which version is served: the highest whole one, through changes and failures."""

import gc
import inspect
import threading
import time
import weakref

import pytest

from tfembed.serving.model_config import ModelConfig, VersionPolicy
from tfembed.serving.models import Models
from tfembed.serving.status import StatusError
from tfembed.serving.versions import ModelVersions, check_model_dir, find_versions


class _Loaded:
    def __init__(self, path, version):
        self.path = path
        self.version = version


def _model(path, load=_Loaded, policy=None, **options):
    """Returns the `ModelVersions` of a model named m."""
    config = ModelConfig("m", str(path), policy or VersionPolicy())
    return ModelVersions(config, load, **options)


def _current(model, version=None):
    with model.use(version) as loaded:
        return loaded.version


def _states(model):
    return [(number, state.state) for number, state in model.states()]


def _folders(path, *names):
    for name in names:
        (path / name).mkdir()
    return path


def test_only_numbers_are_versions(tmp_path):
    _folders(tmp_path, "1", "007", ".tmp-9", "2.tmp", "latest")
    (tmp_path / "12").write_text("a file")
    assert find_versions(str(tmp_path)) == {
        1: str(tmp_path / "1"),
        7: str(tmp_path / "007"),
    }


def test_the_highest_by_number_is_served(tmp_path):
    model = _model(_folders(tmp_path, "9", "10", "2"))
    model.refresh()
    assert _current(model) == _current(model, 10) == 10
    for version in (2, 9, 11):
        with pytest.raises(StatusError) as caught:
            _current(model, version)
        assert caught.value.code == "NOT_FOUND"
        assert caught.value.message == (
            f"Servable not found for request: Specific(m, {version})"
        )


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    ("policy", "served"),
    [
        (VersionPolicy(), {10}),
        (VersionPolicy("latest", 2), {9, 10}),
        (VersionPolicy("latest", 9), {2, 9, 10}),
        (VersionPolicy("all"), {2, 9, 10}),
        (VersionPolicy("specific", versions=(2, 10, 11)), {2, 10}),
    ],
)
def test_a_policy_chooses_the_versions(tmp_path, policy, served):
    model = _model(_folders(tmp_path, "9", "10", "2"), policy=policy)
    model.refresh()
    assert model.available() == served
    assert _current(model) == max(served)
    model.reconfigure(
        ModelConfig("m", str(tmp_path), VersionPolicy("specific", 0, (9,)))
    )
    assert model.available() == {9}


def test_the_old_version_answers_until_the_new_one_is_loaded(tmp_path):
    _folders(tmp_path, "1")
    during = []

    def load(path, version):
        if version == 2:
            during.append(_current(model))
            during.append(_states(model))
        return _Loaded(path, version)

    model = _model(tmp_path, load)
    model.refresh()
    _folders(tmp_path, "2")
    model.refresh()
    assert during == [1, [(2, "LOADING"), (1, "AVAILABLE")]]
    assert _current(model) == 2
    assert _states(model) == [(2, "AVAILABLE"), (1, "END")]


def test_a_version_ends_with_the_last_request_on_it(tmp_path):
    model = _model(_folders(tmp_path, "1"))
    model.refresh()
    freed = threading.Event()
    with model.use() as first, model.use():
        weakref.finalize(first, freed.set)
        _folders(tmp_path, "2")
        model.refresh()
        assert _states(model) == [(2, "AVAILABLE"), (1, "UNLOADING")]
        assert _current(model) == 2 and first.version == 1
    assert _states(model) == [(2, "AVAILABLE"), (1, "END")]
    del first
    gc.collect()
    assert freed.is_set()


def test_of_three_the_oldest_is_let_go_before_the_newest_is_loaded(tmp_path):
    _folders(tmp_path, "1", "2")
    during = []

    def load(path, version):
        if version == 3:
            during.extend(_states(model))
        return _Loaded(path, version)

    model = _model(tmp_path, load, VersionPolicy("latest", 2))
    model.refresh()
    _folders(tmp_path, "3")
    model.refresh()
    assert during == [(3, "LOADING"), (2, "AVAILABLE"), (1, "END")]
    assert model.available() == {2, 3}


def test_a_version_that_does_not_load_leaves_the_old_one(tmp_path):
    _folders(tmp_path, "1")
    tried = []

    def load(path, version):
        tried.append(version)
        if version == 2:
            raise OSError("half a file")
        return _Loaded(path, version)

    defaults = inspect.signature(ModelVersions).parameters
    assert defaults["retries"].default == 5  # as in TF Serving
    assert defaults["retry_seconds"].default == 60.0
    model = _model(tmp_path, load, retries=3, retry_seconds=0.05)
    model.refresh()
    _folders(tmp_path, "2")
    for _ in range(3):  # not again before its time
        model.refresh()
    assert tried == [1, 2]
    assert _current(model) == 1
    (number, state), (_, first) = model.states()
    assert first.state == "AVAILABLE"
    # It may still be arriving: as in TF Serving, it is loading until that is given up.
    assert (number, state.state, state.status) == (2, "LOADING", ("OK", ""))
    for _ in range(8):
        time.sleep(0.06)
        model.refresh()
    assert tried == [1] + [2] * (1 + 3)
    state = model.states()[0][1]
    assert state.state == "END"
    assert state.status == ("UNKNOWN", "OSError: half a file")


def test_a_version_that_arrives_late_is_served(tmp_path):
    _folders(tmp_path, "1")
    arrived = []

    def load(path, version):
        if version == 2 and not arrived:
            raise OSError("half a file")
        return _Loaded(path, version)

    model = _model(tmp_path, load, retry_seconds=0.0)
    model.refresh()
    _folders(tmp_path, "2")
    model.refresh()
    assert _current(model) == 1
    arrived.append(True)
    model.refresh()
    assert _current(model) == 2
    assert model.states()[0][1].status == ("OK", "")


def test_a_version_that_failed_went_and_came_again_is_new(tmp_path):
    _folders(tmp_path, "1")
    tried = []

    def load(path, version):
        tried.append(version)
        if version == 2 and len(tried) < 3:
            raise OSError("half a file")
        return _Loaded(path, version)

    model = _model(tmp_path, load, retries=0)
    model.refresh()
    _folders(tmp_path, "2")
    model.refresh()
    model.refresh()
    assert tried == [1, 2]
    (tmp_path / "2").rmdir()
    model.refresh()
    assert _states(model) == [(2, "END"), (1, "AVAILABLE")]
    _folders(tmp_path, "2")
    model.refresh()
    assert tried == [1, 2, 2]
    assert _current(model) == 2


def test_a_removed_version_falls_back_and_an_empty_folder_changes_nothing(tmp_path):
    model = _model(_folders(tmp_path, "1", "2"))
    model.refresh()
    (tmp_path / "2").rmdir()
    model.refresh()
    assert _current(model) == 1
    (tmp_path / "1").rmdir()
    model.refresh()
    assert _current(model) == 1
    _folders(tmp_path, "2")
    model.refresh()
    assert _current(model) == 2


def test_a_new_version_is_noticed(tmp_path):
    _folders(tmp_path, "1")
    seen = threading.Event()

    def load(path, version):
        if version == 5:
            seen.set()
        return _Loaded(path, version)

    model = _model(tmp_path, load, poll_seconds=0.01)
    model.refresh()
    model.start_polling()
    try:
        _folders(tmp_path, "5")
        assert seen.wait(10)
    finally:
        model.close()
    assert not model.available()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path / "absent", "is not a folder"),
        (lambda path: path, "in which there is none"),
        (lambda path: _folders(path, ".tmp-1", "one"), "in which there is none"),
    ],
)
def test_a_folder_without_versions_is_refused(tmp_path, make, said):
    with pytest.raises(ValueError, match=said):
        check_model_dir(str(make(tmp_path)))


def test_one_version_instead_of_their_folder_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="itself one version.*Give the folder above"):
        check_model_dir(str(tmp_path))


def _serve(*configs, load=_Loaded, **options):
    models = Models(load, **options)
    models.replace(list(configs))
    return models


def _refusal(call, *arguments):
    with pytest.raises(StatusError) as caught:
        result = call(*arguments)
        if hasattr(result, "__enter__"):
            result.__enter__()
    return caught.value.code, caught.value.message


def test_models_are_found_by_name(tmp_path):
    models = _serve(ModelConfig("m", str(_folders(tmp_path, "4"))))
    try:
        with models.use("m") as loaded:
            assert loaded.version == 4
        for arguments, code, message in [
            (("",), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
            (("x",), "NOT_FOUND", "Servable not found for request: Latest(x)"),
            (("x", 4), "NOT_FOUND", "Servable not found for request: Specific(x, 4)"),
            (
                ("m", None, "stable"),
                "INVALID_ARGUMENT",
                "Unrecognized servable version label: stable",
            ),
        ]:
            assert _refusal(models.use, *arguments) == (code, message)
    finally:
        models.close()


def test_a_first_version_that_does_not_load_is_told(tmp_path):
    def load(path, version):
        raise OSError("half a file")

    config = ModelConfig("m", str(_folders(tmp_path, "4")))
    code, message = _refusal(lambda: _serve(config, load=load))
    assert code == "UNKNOWN"
    assert "1 model(s) did not become available" in message
    assert "name: m version: 4" in message
    assert "due to error: UNKNOWN: OSError: half a file" in message


def test_models_are_replaced_whole_or_not_at_all(tmp_path):
    for name in "ab":
        _folders(tmp_path, name)
        _folders(tmp_path / name, "1")
    _folders(tmp_path, "empty")
    a, b = (ModelConfig(name, str(tmp_path / name)) for name in "ab")
    models = _serve(a)
    try:
        for wrong, code in [
            (ModelConfig("c", str(tmp_path / "absent")), "INVALID_ARGUMENT"),
            (ModelConfig("c", str(tmp_path / "empty")), "NOT_FOUND"),
            (
                ModelConfig("b", b.base_path, labels={"stable": 1}),
                "FAILED_PRECONDITION",
            ),
        ]:
            assert _refusal(models.replace, [b, wrong][wrong.name == "b" :])[0] == code
            assert models.names() == ["a"]
        with models.use("a") as held:
            models.replace([b])
            assert models.names() == ["b"]
            assert held.version == 1
            assert models.states("a")[0][1].state == "UNLOADING"
        assert models.states("a")[0][1].state == "END"
        models.replace([a])
        assert models.states("a")[0][1].state == "AVAILABLE"
        assert _refusal(models.states, "c")[0] == "NOT_FOUND"
    finally:
        models.close()


def test_labels(tmp_path):
    base = str(_folders(tmp_path, "1", "2"))
    both = VersionPolicy("all")

    def labelled(**labels):
        return [ModelConfig("m", base, both, labels)]

    models = _serve(*labelled(new=2), labels_for_unavailable=True)
    try:
        with models.use("m", label="new") as loaded:
            assert loaded.version == 2
        models.replace(labelled(new=1, later=7))  # a new label may wait for its version
        with models.use("m", label="new") as loaded:
            assert loaded.version == 1
        assert _refusal(models.use, "m", None, "later") == (
            "NOT_FOUND",
            "Servable not found for request: Specific(m, 7)",
        )
        # one that is in use may not
        assert _refusal(models.replace, labelled(new=7))[0] == "FAILED_PRECONDITION"
    finally:
        models.close()
    assert _refusal(lambda: _serve(*labelled(new=2)))[0] == "FAILED_PRECONDITION"
