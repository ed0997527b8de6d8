"""Which version is served: the highest whole one, through changes and failures."""

import threading

import pytest

from tfembed.serving import versions
from tfembed.serving.status import StatusError
from tfembed.serving.versions import Models, ModelVersions, find_versions


class _Loaded:
    def __init__(self, path, version):
        self.path = path
        self.version = version


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
    _folders(tmp_path, "9", "10", "2")
    model = ModelVersions("m", tmp_path, _Loaded)
    model.refresh()
    assert model.get().version == 10
    assert model.get(10) is model.get()
    for version in (2, 9, 11):
        with pytest.raises(StatusError) as caught:
            model.get(version)
        assert caught.value.code == "NOT_FOUND"
        assert caught.value.message == (
            f"Servable not found for request: Specific(m, {version})"
        )


def test_the_old_version_answers_until_the_new_one_is_loaded(tmp_path):
    _folders(tmp_path, "1")
    during = []

    def load(path, version):
        if version == 2:
            during.append(model.get().version)
            during.append([(n, s.state) for n, s in model.states()])
        return _Loaded(path, version)

    model = ModelVersions("m", tmp_path, load)
    model.refresh()
    _folders(tmp_path, "2")
    model.refresh()
    assert during == [1, [(2, "LOADING"), (1, "AVAILABLE")]]
    assert model.get().version == 2
    assert [(n, s.state) for n, s in model.states()] == [(2, "AVAILABLE"), (1, "END")]


def test_a_version_that_does_not_load_leaves_the_old_one(tmp_path, monkeypatch):
    _folders(tmp_path, "1")
    tried = []

    def load(path, version):
        tried.append(version)
        if version == 2:
            raise OSError("half a file")
        return _Loaded(path, version)

    model = ModelVersions("m", tmp_path, load)
    model.refresh()
    _folders(tmp_path, "2")
    for _ in range(3):  # not again before its time
        model.refresh()
    assert tried == [1, 2]
    assert model.get().version == 1
    (number, state), (_, first) = model.states()
    assert (number, state.state, state.error) == (2, "END", "OSError: half a file")
    assert first.state == "AVAILABLE"
    monkeypatch.setattr(versions, "_RETRY_SECONDS", 0.0)
    for _ in range(20):
        model.refresh()
    assert tried == [1] + [2] * (1 + versions._RETRIES)


def test_a_removed_version_falls_back_and_an_empty_folder_changes_nothing(tmp_path):
    _folders(tmp_path, "1", "2")
    model = ModelVersions("m", tmp_path, _Loaded)
    model.refresh()
    (tmp_path / "2").rmdir()
    model.refresh()
    assert model.get().version == 1
    (tmp_path / "1").rmdir()
    model.refresh()
    assert model.get().version == 1


def test_a_new_version_is_noticed(tmp_path):
    _folders(tmp_path, "1")
    seen = threading.Event()

    def load(path, version):
        if version == 5:
            seen.set()
        return _Loaded(path, version)

    model = ModelVersions("m", tmp_path, load, poll_seconds=0.01)
    model.start()
    try:
        _folders(tmp_path, "5")
        assert seen.wait(10)
    finally:
        model.stop()


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
        ModelVersions("m", make(tmp_path), _Loaded)


def test_one_version_instead_of_their_folder_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="itself one version.*Give the folder above"):
        ModelVersions("m", tmp_path, _Loaded)


def test_a_first_version_that_does_not_load_is_told(tmp_path):
    def load(path, version):
        raise OSError("half a file")

    model = ModelVersions("m", _folders(tmp_path, "4"), load)
    with pytest.raises(ValueError, match="Version 4 of model 'm'.*half a file"):
        model.start()


def test_models_are_found_by_name(tmp_path):
    model = ModelVersions("m", _folders(tmp_path, "4"), _Loaded)
    model.refresh()
    models = Models([model])
    assert models.get("m").version == 4
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
        with pytest.raises(StatusError) as caught:
            models.get(*arguments)
        assert (caught.value.code, caught.value.message) == (code, message)
