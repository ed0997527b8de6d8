"""The two commands as processes of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import small_model

from tfembed.serving import Client
from tfembed.serving.__main__ import main


@pytest.fixture
def start(model_dir, tmp_path):
    """Starts servers, and ends what is left of them."""
    processes = []

    def run(*arguments):
        ready = tmp_path / f"ready-{len(processes)}.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "tfembed.serving", str(model_dir)]
            + ["--port", "0", "--rest-port", "0", "--ready-file", str(ready)]
            + list(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process, ready

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.thin(2)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped(start, number):
    process, ready = start("--name", "small")
    line = process.stdout.readline()
    words = dict(word.split("=") for word in line.split() if "=" in word)
    assert line.startswith("ready ") and words["model"] == "small"
    until = time.monotonic() + 10
    while not ready.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert json.loads(ready.read_text()) == {
        "grpc": words["grpc"],
        "rest": words["rest"],
    }
    assert words["grpc"].startswith("127.0.0.1:")
    images = small_model.images(2)
    for address in (words["grpc"], "http://" + words["rest"]):
        with Client(address, name="small") as client:
            assert client.search(images).valid.all()
    process.send_signal(number)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "stopped\n"
    assert "Traceback" not in errors


def test_several_models(model_dir, tmp_path, start):
    for folder in ("own", "photos"):
        (tmp_path / folder).symlink_to(model_dir)
    process, _ = start(f"other={tmp_path / 'own'}", str(tmp_path / "photos"))
    line = process.stdout.readline()
    words = dict(word.split("=") for word in line.split() if "=" in word)
    names = [model_dir.name, "other", "photos"]
    assert words["model"].split(",") == sorted(names)
    for name in names:
        with Client("http://" + words["rest"], name=name) as client:
            assert [each.state for each in client.status()] == ["AVAILABLE"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give at least one MODEL_BASE"),
        (["a", "b", "--name", "c"], "--name is for one model"),
        (["x/a", "y/a"], "two models have the name a"),
        (["a", "--model-config-file", "b"], "give no MODEL_BASE"),
        (["a:b=c"], "a name must not have / or :"),
        (["a", "--max-request-megabytes", "0"], "a number above 0"),
        (["a", "--max-image-megapixels", "x"], "a number above 0"),
        (["a", "--model-config-poll-seconds", "-1"], "must be seconds, or 0"),
    ],
)
def test_arguments_that_make_no_sense(capsys, arguments, said):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_port_in_use_is_told(model_dir, run_python):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for flags in (["--port", port, "--rest-port", "0"], ["--rest-port", port]):
            flags = flags if "--port" in flags else ["--port", "0"] + flags
            ended = run_python("-m", "tfembed.serving", str(model_dir), *flags)
            assert ended.returncode == 2
            assert f"Cannot listen at 127.0.0.1:{port}" in ended.stderr
            assert "--rest-port" in ended.stderr and "Traceback" not in ended.stderr


def test_a_folder_without_a_model_is_told(tmp_path, run_python):
    ended = run_python("-m", "tfembed.serving", str(tmp_path))
    assert ended.returncode == 2
    assert "must hold versions" in ended.stderr and "Traceback" not in ended.stderr


def test_a_broken_model_is_told(tmp_path, run_python):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\xff junk")
    flags = ("--port", "0", "--rest-port", "0")
    ended = run_python("-m", "tfembed.serving", str(tmp_path), *flags)
    assert ended.returncode == 2
    assert "name: model version: 1" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["tfembed.serving", "tfembed.serving.query"])
def test_help_is_quick_and_light(run_python, command):
    begun = time.monotonic()
    ended = run_python("-X", "importtime", "-m", command, "--help")
    assert time.monotonic() - begun < 5.0  # under 1 s on an idle machine
    assert ended.returncode == 0 and "usage: python -m " + command in ended.stdout
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    heavy = {"tensorflow", "keras", "numpy", "grpc", "matplotlib", "requests"}
    assert not imported & heavy


@pytest.mark.parametrize("bad", [["--port", "70000"], ["--poll-seconds", "0"]])
def test_bad_flags_are_told(tmp_path, run_python, bad):
    ended = run_python("-m", "tfembed.serving", str(tmp_path), *bad)
    assert ended.returncode == 2 and "Received: " in ended.stderr


def test_query_prints_and_draws(server, tmp_path, run_python):
    images = small_model.images(2)
    for name, image in zip(("ant-0001.png", "cat_dog-0002.png"), images):
        (tmp_path / name).write_bytes(small_model.png(image))
    (tmp_path / "ant-0003.png").write_bytes(b"junk")
    rows, ids, labels = small_model.gallery()
    gallery = tmp_path / "thumbnails.npz"
    np.savez(gallery, images=small_model.images(len(ids), seed=1), ids=ids)
    for address in (server.grpc_address, server.rest_address):
        picture = tmp_path / "out" / "neighbours.png"
        ended = run_python(
            *("-m", "tfembed.serving.query", "--address", address, "--k", "3"),
            *("--images", str(gallery), "--picture", str(picture), "--long"),
            *("--label-from-name", *map(str, sorted(tmp_path.glob("*.png")))),
        )
        assert ended.returncode == 0, ended.stderr
        lines = ended.stdout.splitlines()
        assert lines[0].split()[:4] == ["query", "truth", "vote", "share"]
        assert lines[2].startswith("ant-0001.png      ant")
        assert "could not be read" in lines[3]
        assert "of 2 votes right" in ended.stdout
        best = np.argmax(small_model.expected_scores(images), axis=1)
        assert lines[2].endswith(ids[best[0]]) and lines[4].endswith(ids[best[1]])
        hits = (labels[best[0]] == "ant") + (labels[best[1]] == "cat/dog")
        assert f"{hits} of 2 votes right" in ended.stdout
        from PIL import Image

        with Image.open(picture) as drawn:
            assert drawn.width == 1800
        os.unlink(picture)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["absent.png"], "absent.png"),
        (["--truth", "a", "b", "--address", "127.0.0.1:1", "x"], "one label for each"),
        (["x", "--truth", "a", "b"], "2 labels for 1 images"),
        (["x", "--images", "absent.npz"], "does not exist"),
        (["x", "--address", "nowhere"], "`address` must be"),
        (["x", "--k", "0"], "`k` must be"),
    ],
)
def test_query_says_what_is_wrong(run_python, flags, said):
    ended = run_python("-m", "tfembed.serving.query", "--address", "http://a:1", *flags)
    assert ended.returncode == 2
    assert said in ended.stderr and "Traceback" not in ended.stderr
