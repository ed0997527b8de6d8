"""The run directory: fresh, found again, locked, and refused."""

import dataclasses
import json
import threading
import time

import pytest

from tfembed.formats.format_version import RUN
from tfembed.recipes.instdisc import Config
from tfembed.recipes.run_directory import RunDirectory, cut_log, is_chief

CONFIG = Config(dataset="synthetic", epochs=2)


def opened(path, config=CONFIG, **kwargs):
    return RunDirectory(path, "instdisc", config, **kwargs)


def test_a_fresh_directory_has_config_and_environment(tmp_path):
    directory = opened(tmp_path / "a" / "b")
    settings = json.loads((tmp_path / "a/b/config.json").read_text())
    assert settings == {
        "format_version": RUN,
        "recipe": "instdisc",
        **dataclasses.asdict(CONFIG),
    }
    environment = directory.read_json("environment.json")
    assert environment["versions"]["tensorflow"]
    assert not directory.finished


def test_without_a_name_runs_are_numbered_and_unfinished_ones_go_on(tmp_path):
    first = opened(None, parent=tmp_path)
    assert first.path.name == "instdisc-synthetic-001"
    busy = opened(None, parent=tmp_path)  # the first is locked
    assert busy.path.name == "instdisc-synthetic-002"
    first.close()
    busy.close()
    assert opened(None, parent=tmp_path).path.name == "instdisc-synthetic-002"
    other = dataclasses.replace(CONFIG, epochs=3)
    assert opened(None, other, parent=tmp_path).path.name == "instdisc-synthetic-003"


def test_a_finished_run_is_left_alone(tmp_path):
    first = opened(None, parent=tmp_path)
    first.write_json("result.json", {})
    first.close()
    assert opened(None, parent=tmp_path).path.name == "instdisc-synthetic-002"


def test_another_config_is_refused_by_name(tmp_path):
    opened(tmp_path / "run").close()
    other = dataclasses.replace(CONFIG, epochs=5)
    with pytest.raises(ValueError, match="epochs=2 there, 5 here"):
        opened(tmp_path / "run", other)


def test_a_setting_that_has_come_since_has_its_default(tmp_path):
    opened(tmp_path / "run").close()
    path = tmp_path / "run" / "config.json"
    settings = json.loads(path.read_text())
    del settings["linear_probe"], settings["keep"]
    path.write_text(json.dumps(settings))
    opened(tmp_path / "run").close()
    other = dataclasses.replace(CONFIG, linear_probe=False)
    with pytest.raises(ValueError, match="linear_probe=True there, False here"):
        opened(tmp_path / "run", other)


def test_a_run_of_before_there_was_a_choice_goes_on_squashed_alone(tmp_path):
    opened(tmp_path / "run").close()
    path = tmp_path / "run" / "config.json"
    settings = json.loads(path.read_text())
    assert settings.pop("resize") == "squash"
    path.write_text(json.dumps(settings))
    opened(tmp_path / "run").close()
    with pytest.raises(ValueError, match="resize='squash' there, 'crop' here"):
        opened(tmp_path / "run", dataclasses.replace(CONFIG, resize="crop"))


def test_two_processes_cannot_train_in_one_directory(tmp_path):
    first = opened(tmp_path / "run")
    with pytest.raises(ValueError, match="Another process is training"):
        opened(tmp_path / "run")
    first.close()
    opened(tmp_path / "run").close()


def test_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ValueError, match="must be a directory"):
        opened(tmp_path / "run")


def test_the_log_is_cut_to_whole_epochs(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss\n0,3\n1,2\n2,1\n3,0.")
    cut_log(log, 2)
    assert log.read_text() == "epoch,loss\n0,3\n1,2\n"
    cut_log(log, 0)
    assert not log.exists()


def test_processes_at_once_get_directories_of_their_own(tmp_path):
    """Some of them cannot begin, and take away what they made."""
    stop, paths, errors = time.monotonic() + 1, [], []

    def start(discards):
        try:
            while time.monotonic() < stop and not errors:
                directory = opened(None, parent=tmp_path)
                try:
                    config = directory.read_json("config.json")
                    assert config == {"format_version": RUN, **directory.settings}
                    if discards:
                        directory.discard()
                    else:
                        directory.write_json("result.json", {})
                        paths.append(directory.path)
                finally:
                    directory.close()
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=start, args=(each % 2,), daemon=True)
        for each in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    assert len(paths) > 5 and len(set(paths)) == len(paths)
    for path in paths:
        assert {"config.json", "environment.json"} <= {
            each.name for each in path.iterdir()
        }


@pytest.mark.parametrize(
    ("cluster", "task", "chief"),
    [
        (None, None, True),
        (["worker", "worker"], ("worker", 0), True),
        (["worker", "worker"], ("worker", 1), False),
        (["chief", "worker"], ("chief", 0), True),
        (["chief", "worker"], ("worker", 0), False),
        (["chief", "worker", "worker"], ("worker", 1), False),
        (["worker", "evaluator"], ("evaluator", 0), False),
        (["worker", "ps"], ("ps", 0), False),
        (["worker"], ("worker", "0"), True),
    ],
)
def test_one_process_writes(cluster, task, chief, monkeypatch):
    config = {}
    if cluster:
        config["cluster"] = {
            kind: [f"host:{i}" for i, each in enumerate(cluster) if each == kind]
            for kind in cluster
        }
        config["task"] = {"type": task[0], "index": task[1]}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert is_chief() is chief
