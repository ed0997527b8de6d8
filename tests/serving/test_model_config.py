"""Model config files: what they say, what is refused, and that changes are seen."""

import pathlib
import re
import shutil
import socket
import subprocess
import time

import pytest
import requests
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfembed.serving import LocalServer
from tfembed.serving.model_config import ModelConfig, VersionPolicy, read_model_config
from tfembed.serving.server import is_loopback
from tfembed.serving.status import StatusError

FILE = """
model_config_list {
  config {
    name: "a" base_path: "/models/a" model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
    version_labels { key: "stable" value: 3 }
  }
  config {
    name: "b" base_path: "/models/b" model_type: TENSORFLOW
    model_version_policy { specific { versions: 4 versions: 7 } }
  }
  config {
    name: "c" base_path: "/models/c" model_platform: "tensorflow"
    model_version_policy { all {} }
  }
  config { name: "d" base_path: "/models/d" model_platform: "tensorflow" }
}
"""


def test_a_file_is_read(tmp_path):
    file = tmp_path / "models.config"
    file.write_text(FILE)
    assert read_model_config(file) == [
        ModelConfig("a", "/models/a", VersionPolicy("latest", 2), {"stable": 3}),
        ModelConfig("b", "/models/b", VersionPolicy("specific", versions=(4, 7))),
        ModelConfig("c", "/models/c", VersionPolicy("all")),
        ModelConfig("d", "/models/d", VersionPolicy("latest", 1)),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (FILE, "nonsense", "no field named .nonsense"),
        (FILE, "", "Only ModelConfigList"),
        ('name: "b"', 'name: "a"', "list model a multiple times"),
        ('name: "b"', "", "has no name"),
        ('"/models/a"', '"models/a"', "model a to have an absolute path"),
        ("model_type: TENSORFLOW", "", "neither .* model name is b"),
        (
            "model_type: TENSORFLOW",
            'model_type: TENSORFLOW model_platform: "tensorflow"',
            "both .* model name is b",
        ),
        ("model_type: TENSORFLOW", "model_type: OTHER", "choice 2 not supported"),
    ],
)
def test_a_file_that_says_what_cannot_be_served(tmp_path, old, new, said):
    file = tmp_path / "models.config"
    file.write_text(FILE.replace(old, new, 1))
    with pytest.raises(ValueError, match=said) as caught:
        read_model_config(file)
    assert f"Received: {str(file)!r}" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        LocalServer(model_config_file=tmp_path / "absent")


def test_the_kits_file_outside_of_docker(model_dir, tmp_path):
    """By the two commands of docs/serving.md."""
    root = pathlib.Path(__file__).parents[2]
    text = (root / "docs" / "serving.md").read_text(encoding="utf-8")
    (rewrite,) = re.findall(r"^sed .*$", text, re.M)
    assert "\npython -m tfembed.serving --model-config-file models.config\n" in text
    (tmp_path / "export").mkdir()
    shutil.copy(root / "export" / "models.config", tmp_path / "export")
    with pytest.raises(ValueError, match="write the path here"):
        LocalServer(
            model_config_file=tmp_path / "export" / "models.config", port=0, rest_port=0
        ).start()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "demo").symlink_to(model_dir)
    subprocess.run(["sh", "-c", rewrite], cwd=tmp_path, check=True)
    file = tmp_path / "models.config"
    with LocalServer(model_config_file=file, port=0, rest_port=0) as server:
        assert server.model_names == ["demo"]
        assert [version for version, _ in server._models.states("demo")] == [7, 3]


def test_something_must_be_served_but_from_one_source(model_dir, tmp_path):
    for arguments in ({}, {"model_dir": model_dir, "model_config_file": tmp_path}):
        with pytest.raises(ValueError, match="one of the two. Received: model_dir="):
            LocalServer(**arguments)


def _write(file, *models, labels=""):
    blocks = [
        f'config {{ name: "{name}" base_path: "{base}" '
        f'model_platform: "tensorflow" {labels} }}'
        for name, base in models
    ]
    file.write_text(f"model_config_list {{ {' '.join(blocks)} }}")


def test_a_changed_file_is_taken_over_and_a_bad_one_is_not(model_dir, tmp_path, caplog):
    file = tmp_path / "models.config"
    _write(file, ("a", model_dir))
    with LocalServer(
        model_config_file=file,
        model_config_poll_seconds=0.02,
        port=0,
        rest_port=0,
    ) as server:
        assert server.model_names == ["a"]

        def until(holds):
            stop_at = time.monotonic() + 30
            while not holds():
                assert time.monotonic() < stop_at
                time.sleep(0.01)

        _write(file, ("a", model_dir), ("b", model_dir))
        until(lambda: server.model_names == ["a", "b"])
        _write(file, ("a", model_dir), ("c", tmp_path / "absent"))
        until(lambda: "was not taken over" in caplog.text)
        time.sleep(0.1)
        assert caplog.text.count("was not taken over") == 1
        assert server.model_names == ["a", "b"]
        _write(file, ("b", model_dir))
        until(lambda: server.model_names == ["b"])


def test_a_config_that_would_wedge_a_tf_serving_is_refused_and_forgotten(
    model_dir, tmp_path
):
    file = tmp_path / "models.config"
    _write(file, ("a", model_dir))
    good = text_format.Parse(file.read_text(), ModelServerConfig())
    with LocalServer(model_config_file=file, port=0, rest_port=0) as server:
        for spoil in (
            lambda config: config.ClearField("model_platform"),
            lambda config: setattr(config, "base_path", str(tmp_path / "absent")),
        ):
            bad = ModelServerConfig()
            bad.CopyFrom(good)
            bad.model_config_list.config[0].name = "b"
            spoil(bad.model_config_list.config[0])
            with pytest.raises(StatusError) as caught:
                server.reload_config(bad)
            assert caught.value.code == "INVALID_ARGUMENT"
            assert server.model_names == ["a"]
            server.reload_config(good)
            assert server.model_names == ["a"]


def test_labels_at_the_start_need_a_flag_as_in_tf_serving(model_dir, tmp_path):
    file = tmp_path / "models.config"
    label = 'version_labels { key: "stable" value: 7 }'
    _write(file, ("a", model_dir), labels=label)
    with pytest.raises(ValueError, match="--allow-version-labels-for-unavailable"):
        LocalServer(model_config_file=file, port=0, rest_port=0).start()


@pytest.mark.parametrize("host", ["localhost", "::1"])
def test_other_names_of_this_machine(model_dir, host):
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with LocalServer(model_dir, host=host, port=0, rest_port=0) as server:
        with requests.Session() as session:
            session.trust_env = False
            url = server.rest_address + "/v1/models/model"
            assert session.get(url, timeout=30).status_code == 200


def test_other_machines_are_let_in_with_a_warning(model_dir, caplog):
    with LocalServer(model_dir, host="0.0.0.0", port=0, rest_port=0):
        assert "other machines may reach this server" in caplog.text
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("example.org")
