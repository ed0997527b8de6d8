"""The recipe as a command: its run directory, resume after SIGKILL, replicas."""

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from small_runs import ROOT, arguments

import tfembed
from tfembed import compat
from tfembed.embed import embed_source
from tfembed.recipes import instdisc

SMALL = {
    "dataset": "synthetic",
    "limit": 300,
    "test_limit": 60,
    "epochs": 3,
    "batch_size": 32,
    "dim": 16,
    "num_negatives": 50,
}
TIMES = {"images_per_second"}


def command(run_dir, **flags):
    return [
        sys.executable,
        "-m",
        "tfembed.recipes.instdisc",
        *arguments(run_dir, SMALL, **flags),
    ]


def launch(run_dir, **flags):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command(run_dir, **flags),
        cwd=run_dir.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return output


def log(run_dir):
    with open(run_dir / "log.csv") as file:
        return [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run of NCE, as a command, and what it printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    return run_dir, finish(launch(run_dir, objective="nce"))


def test_run_directory(finished):
    run_dir, output = finished
    names = {path.name for path in run_dir.iterdir()}
    assert {
        "config.json",
        "environment.json",
        "log.csv",
        "tensorboard",
        "backup",
        "model.keras",
        "gallery.npz",
        "thumbnails.npz",
        "queries",
        "result.json",
    } <= names
    rows = log(run_dir)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    for row in rows:
        assert {"loss", "knn_10", "knn_200", "normalizer", "learning_rate"} <= set(row)
    losses = [float(row["loss"]) for row in rows]
    assert min(losses[1:]) < losses[0]  # while the normaliser moves, it may rise again
    assert "3 epochs done" in output  # progress
    assert "trained encoder" in output


def test_gallery_is_what_the_saved_encoder_says(finished):
    run_dir, _ = finished
    gallery = np.load(run_dir / "gallery.npz", allow_pickle=False)
    assert gallery["embeddings"].shape == (300, 16)
    np.testing.assert_allclose(
        np.linalg.norm(gallery["embeddings"], axis=1), 1, atol=1e-5
    )
    thumbnails = np.load(run_dir / "thumbnails.npz", allow_pickle=False)
    np.testing.assert_array_equal(thumbnails["ids"], gallery["ids"])
    encoder = tfembed.load_model(run_dir / "model.keras")
    found = encoder.predict(np.float32(thumbnails["images"][:20]), verbose=0)
    np.testing.assert_allclose(found, gallery["embeddings"][:20], atol=1e-4)
    assert len(list((run_dir / "queries").glob("*.png"))) == 8
    assert 0 < gallery["known_threshold"] < 1


def test_result_has_the_table(finished):
    run_dir, _ = finished
    result = json.loads((run_dir / "result.json").read_text())
    names = [row["representation"] for row in result["table"]]
    assert names == [
        "raw pixels",
        "raw pixels - mean",
        "untrained network",
        "trained encoder",
    ]
    for row in result["table"]:
        assert {"knn_10", "knn_200", "linear_probe"} <= set(row)
        assert row["knn_10"] > 0.3  # chance is 0.1
    rows = log(run_dir)
    trained = result["table"][-1]
    assert float(rows[-1]["knn_10"]) == pytest.approx(trained["knn_10"])


def test_a_finished_run_prints_its_result_at_once(finished, capsys):
    run_dir, _ = finished
    before = (run_dir / "result.json").read_bytes()
    instdisc.main(arguments(run_dir, SMALL, objective="nce"))
    assert "trained encoder" in capsys.readouterr().out
    assert (run_dir / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    "moment",
    ["epoch-00001", pytest.param("epoch-00002", marks=pytest.mark.slow)],
)
def test_killed_and_started_again_ends_the_same(finished, tmp_path, moment):
    whole, _ = finished
    run_dir = tmp_path / "killed"
    process = launch(run_dir, objective="nce", linear_probe=False)
    deadline = time.monotonic() + 300
    while not (run_dir / "backup" / moment).exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (run_dir / "result.json").exists()
    output = finish(launch(run_dir, objective="nce", linear_probe=False))
    assert "going on after epoch" in output
    assert log(run_dir) == log(whole)
    first, second = (
        np.load(each / "gallery.npz")["embeddings"] for each in (whole, run_dir)
    )
    np.testing.assert_array_equal(first, second)
    assert checkpoint(run_dir) == checkpoint(whole)


def checkpoint(run_dir):
    """Every variable of the last backup: weights, bank, optimizer, counters."""
    import tensorflow as tf

    (folder,) = (run_dir / "backup").iterdir()
    reader = tf.train.load_checkpoint(str(folder / "state"))
    found = {}
    for name in reader.get_variable_to_shape_map():
        value = reader.get_tensor(name)
        if hasattr(value, "tobytes") and value.dtype.kind in "fiub":
            found[name] = value.tobytes()
    assert any("rows" in name or "bank" in name for name in found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_moments_ends_the_same(finished, tmp_path, seed):
    whole, _ = finished
    rng = np.random.default_rng(seed)
    run_dir = tmp_path / "killed"
    for _ in range(4):
        process = launch(run_dir, objective="nce")
        try:
            process.communicate(timeout=float(rng.uniform(8, 40)))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    finish(launch(run_dir, objective="nce"))
    assert log(run_dir) == log(whole)
    assert checkpoint(run_dir) == checkpoint(whole)


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(
            {"objective": "full", "replicas": 2, "proximal": 1.0},
            marks=pytest.mark.slow,
        ),
        {
            "objective": "infonce",
            "negatives": "per_anchor",
            "bank_init": "paper",
            "precision": "mixed_bfloat16",
        },
        pytest.param(
            {
                "objective": "parametric",
                "temperature": 1.0,
                "precision": "mixed_bfloat16",
            },
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda flags: flags["objective"],
)
def test_other_objectives_train(flags, tmp_path):
    run_dir = tmp_path / "run"
    flags = {"epochs": 2, "linear_probe": False, **flags}
    if "replicas" in flags:
        finish(launch(run_dir, **flags))
    else:
        instdisc.main(arguments(run_dir, SMALL, **flags))
    rows = log(run_dir)
    assert len(rows) == 2
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    assert float(rows[-1]["knn_10"]) > 0.3
    encoder = tfembed.load_model(run_dir / "model.keras")
    assert encoder.outputs[0].dtype in ("float32", np.float32)
    narrow = {layer.compute_dtype for layer in encoder.layers} - {"float32"}
    assert narrow == ({"bfloat16"} if "precision" in flags else set())


def free_ports(count):
    """Ports that nobody listens at, below those that the system hands out itself."""
    ports, numbers = [], np.random.default_rng()
    while len(ports) < count:
        port = int(numbers.integers(15000, 32000))
        with socket.socket() as each, contextlib.suppress(OSError):
            each.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


@contextlib.contextmanager
def workers(run_dir, **flags):
    """Two workers on this machine, as processes; none outlives the block.

    What a worker prints goes to `worker-N.txt`: nobody need read for it to go on.
    """
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    processes = []
    try:
        for index in range(2):
            task = {"type": "worker", "index": index}
            with open(run_dir.parent / f"worker-{index}.txt", "w") as printed:
                processes.append(
                    subprocess.Popen(
                        command(
                            run_dir,
                            strategy="multi_worker",
                            linear_probe=False,
                            **flags,
                        ),
                        cwd=run_dir.parent,
                        env={
                            **os.environ,
                            "PYTHONPATH": str(ROOT),
                            "PYTHONFAULTHANDLER": "1",
                            "TF_CONFIG": json.dumps({"cluster": cluster, "task": task}),
                        },
                        stdin=subprocess.DEVNULL,
                        stdout=printed,
                        stderr=subprocess.STDOUT,
                    )
                )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_until(reached, processes, run_dir):
    """Waits for a condition; where it never comes, says what the workers were at."""
    deadline = time.monotonic() + 300
    while not reached():
        codes = [process.poll() for process in processes]
        if any(codes) or time.monotonic() > deadline:
            for process in processes:  # each prints the stack of its threads
                process.send_signal(signal.SIGABRT)
                process.wait()
            printed = [path.read_text() for path in run_dir.parent.glob("worker-*.txt")]
            raise AssertionError("\n\n".join([f"ended with {codes}", *printed]))
        time.sleep(0.05)


@pytest.mark.skipif(not compat.KERAS_3, reason="several workers are of the other stack")
def test_several_workers_get_a_sentence_on_keras_3(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"task": {"type": "worker", "index": 0}})
    )
    with pytest.raises(SystemExit) as stop:
        instdisc.main(arguments(tmp_path / "run", SMALL, strategy="multi_worker"))
    assert stop.value.code == 2
    assert "multi_worker needs Keras 2" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(compat.KERAS_3, reason="several workers are of the other stack")
def test_two_workers_train_as_one_run_and_go_on(tmp_path):
    run_dir, alone = tmp_path / "run", tmp_path / "alone"
    flags = {"epochs": 2, "limit": 96, "test_limit": 30}
    with workers(run_dir, **flags) as processes:
        backup = run_dir / "backup" / "epoch-00001"
        wait_until(backup.exists, processes, run_dir)
    assert not (run_dir / "result.json").exists()
    with workers(run_dir, **flags) as processes:
        wait_until(
            lambda: [process.poll() for process in processes] == [0, 0],
            processes,
            run_dir,
        )
    assert [int(row["epoch"]) for row in log(run_dir)] == [0, 1]
    assert (run_dir / "result.json").exists()
    encoder = tfembed.load_model(run_dir / "model.keras")
    gallery = np.load(run_dir / "gallery.npz")["embeddings"]
    images = np.load(run_dir / "thumbnails.npz")["images"]
    found = encoder.predict(np.float32(images), verbose=0)
    np.testing.assert_allclose(found, gallery, atol=1e-4)
    # Two workers are one process, killed and gone on or not.
    instdisc.main(arguments(alone, SMALL, linear_probe=False, **flags))
    losses = [[float(row["loss"]) for row in log(each)] for each in (run_dir, alone)]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    expected = np.load(alone / "gallery.npz")["embeddings"]
    np.testing.assert_allclose(gallery, expected, atol=1e-2)


def test_a_folder_without_labels(tmp_path, caplog):
    from PIL import Image

    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        pixels = rng.integers(0, 256, size=(20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    run_dir = tmp_path / "run"
    flags = {
        "dataset": f"folder:{folder}",
        "image_size": 16,
        "resize": "crop",
        "limit": "none",
        "test_limit": "none",
        "batch_size": 8,
        "epochs": 1,
    }
    instdisc.main(arguments(run_dir, SMALL, **flags))
    assert "broken.png" in caplog.text
    result = json.loads((run_dir / "result.json").read_text())
    assert result["table"] == []
    assert result["training_images"] + result["test_images"] == 40
    gallery = np.load(run_dir / "gallery.npz")
    assert set(gallery["labels"]) == {-1}
    assert "broken.png" not in set(gallery["ids"])
    # Who embeds with it sees the same pictures, cropped, without being told.
    found = embed_source(run_dir, f"folder:{folder}", tmp_path / "rows.npz").load()
    rows = dict(zip(found.ids, found.embeddings))
    found = [rows[name] for name in gallery["ids"]]
    np.testing.assert_allclose(found, gallery["embeddings"], atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"dataset": "imagenet"}, "imagenet"),
        ({"backbone": "resnet19"}, "resnet19"),
        ({"optimizer": "adam", "weight_decay": 0.1}, "take optimizer='adamw'"),
        # Infinite in float32, so that the weights are, whatever the processor.
        ({"learning_rate": 1e39, "epochs": 1}, "The loss became nan in epoch 1"),
    ],
)
def test_a_users_mistake_is_a_sentence(flags, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        instdisc.main(arguments(tmp_path / "run", SMALL, **flags))
    assert error.value.code == 2
    text = capsys.readouterr().err
    assert message in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("batch_size", "size", "replicas", "message"),
    [
        (9, 90, 2, "must be a multiple of their number"),
        (8, 81, 2, "The last batch of an epoch would have 1 images for 2 replicas"),
        (8, 85, 4, "5 images for 4 replicas, 2 each, and leave one without any"),
    ],
)
def test_batches_that_replicas_cannot_share(batch_size, size, replicas, message):
    from tfembed.recipes.training import check_batch

    with pytest.raises(ValueError, match=message):
        check_batch(batch_size, size, replicas)
    check_batch(8, 80, replicas)
    check_batch(8, 87, replicas)
