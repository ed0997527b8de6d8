"""`python -m tfembed.serving.query`: filters, pins, folders, JSON."""

import json
import os
import subprocess
import sys
import threading

import digits as digit_model
import numpy as np
import pytest
import tensorflow as tf
from digits import NAMES, K
from PIL import Image

from tfembed.serving import Client, LocalServer
from tfembed.serving.query import find_images, main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Digits in a folder, one of them no image."""
    folder = tmp_path_factory.mktemp("queries")
    images, labels = digit_model.load()
    (folder / "below").mkdir()
    for row in range(1300, 1304):
        name = f"{NAMES[labels[row]]}-{row}.png"
        place = folder / "below" if row == 1303 else folder
        Image.fromarray(images[row][..., 0]).save(place / name)
    (folder / "a-junk.JPG").write_bytes(b"junk")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def ask(digit_server, folder, capsys):
    """Runs the command on the folder; returns what it prints."""

    def run(*flags, address=digit_server.rest_address):
        flags = ["--address", address, "--name", "digits", *flags]
        assert main([str(folder), *flags]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_it_waits_for_a_server_and_a_version_that_are_only_starting(
    digits, folder, tmp_path, capsys
):
    base = tmp_path / "models"
    base.mkdir()
    (newest,) = sorted(digits.glob("models/[0-9]*"))[-1:]
    os.symlink(newest, base / "1")
    server = LocalServer(base, name="digits", port=0, rest_port=0).start()
    address = server.grpc_address
    words = [str(folder), "--address", address, "--name", "digits", "--k", "1"]
    words += ["--version", "2", "--wait"]
    try:
        assert main([*words, "0.6"]) == 2  # it is not there: said, after the time
        assert "2" in capsys.readouterr().err
        later = threading.Timer(1.0, os.symlink, (newest, base / "2"))
        later.start()
        assert main([*words, "120"]) == 0
        assert "nearest id" in capsys.readouterr().out
    finally:
        server.stop()
    assert main([str(folder), "--address", address, "--name", "digits"]) == 2
    assert capsys.readouterr().err.rstrip().endswith("--wait 60.")


@pytest.mark.parametrize("count", [1, 2])
def test_it_ends_with_1_where_no_image_could_be_read(
    digit_server, tmp_path, capsys, count
):
    paths = [tmp_path / f"{number}.png" for number in range(count)]
    for path in paths:
        path.write_bytes(b"junk")
    flags = ["--address", digit_server.grpc_address, "--name", "digits"]
    assert main([*map(str, paths), *flags]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("could not be read") == count
    of = "the image" if count == 1 else "any of the 2 images"
    assert printed.err == f"The model could not read {of}.\n"
    paths[0].write_bytes(tf.io.encode_png(digit_model.load()[0][0]).numpy())
    assert main([*map(str, paths), *flags]) == 0


def test_a_folder_as_json(ask, digit_server, folder, capsys):
    paths = find_images([str(folder)])
    said = capsys.readouterr().err
    assert "passed over 1 files that are not images: " in said and "notes.txt" in said
    assert [path.rpartition("/")[2] for path in paths][0] == "a-junk.JPG"
    assert len(paths) == 5 and any("below" in path for path in paths)
    with Client(digit_server.grpc_address, name="digits") as client:
        expected = client.search(paths, k=2)
    rows = json.loads(ask("--json", "--k", "2", "--label-from-name"))
    assert [row["image"] for row in rows] == paths
    assert rows[0] == {"image": paths[0], "valid": False}
    for row, found in list(enumerate(rows))[1:]:
        assert found["truth"] == paths[row].rpartition("/")[2].partition("-")[0]
        assert found["vote"] == expected.vote[row]
        assert found["known"] == expected.known[row]
        names = [each["id"] for each in found["neighbours"]]
        assert names == expected.ids[row].tolist()
        scores = [each["score"] for each in found["neighbours"]]
        np.testing.assert_allclose(scores, expected.scores[row], atol=1e-6)


def test_files_whose_names_are_no_utf8(digit_server, tmp_path):
    """Asked with in a process of its own, whose output takes UTF-8 alone."""
    (tmp_path / "images").mkdir()
    path = os.path.join(os.fsencode(tmp_path), b"images", b"bag-\xe9.png")
    with open(path, "wb") as file:
        file.write(tf.io.encode_png(digit_model.load()[0][0]).numpy())
    command = [sys.executable, "-m", "tfembed.serving.query", tmp_path / "images"]
    command += ["--address", digit_server.grpc_address, "--name", "digits"]
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": ":".join(sys.path)}
    said = [
        subprocess.run(
            [*command, *flags], env=environment, capture_output=True, check=True
        ).stdout
        for flags in ([f"--picture={tmp_path}/p.png"], ["--json"])
    ]
    assert rb"bag-\xe9.png" in said[0] and (tmp_path / "p.png").exists()
    (row,) = json.loads(said[1])
    assert os.fsencode(row["image"]) == path and row["valid"]


def test_filters(ask):
    first = json.loads(ask("--json"))[1]["neighbours"]
    label, name = first[0]["label"], first[0]["id"]
    without = json.loads(ask("--json", "--exclude-label", label))[1]["neighbours"]
    assert label not in {each["label"] for each in without} and len(without) == K
    others = json.loads(ask("--json", "--exclude-id", name))[1]["neighbours"]
    kept = [each["id"] for each in first[1:]]
    assert [each["id"] for each in others[: K - 1]] == kept
    two = ["--allow-label", "one", "--allow-label", "two"]
    some = json.loads(ask("--json", *two))[1]["neighbours"]
    assert {each["label"] for each in some} <= {"one", "two"}
    flags = ["--allow-id", name, "--allow-id", "absent"]
    alone = json.loads(ask("--json", *flags))[1]["neighbours"]
    assert [each["id"] for each in alone] == [name]
    text = ask(*flags, "--long")
    assert text.count(name) == 2 * 4  # nearest of each image, and its only neighbour
    assert "none" in ask("--allow-id", "absent").splitlines()[3].split()


def test_least_scores_and_few_of_a_class(ask, digit_server, folder):
    paths = find_images([str(folder)])
    flags = ["--json", "--min-score", "0.6", "--per-label", "2"]
    rows = json.loads(ask(*flags))
    with Client(digit_server.grpc_address, name="digits") as client:
        wanted = client.search(paths, min_score=0.6, per_label=2)
    assert 0 < (wanted.ids[1:] != "").sum() < wanted.ids[1:].size
    for row, found in list(enumerate(rows))[1:]:
        names = [each["id"] for each in found["neighbours"]]
        assert names == [name for name in wanted.ids[row] if name]
    assert rows[0]["valid"] is False


def test_examples_are_one_question(digit_server, folder, capsys):
    paths = [path for path in find_images([str(folder)]) if "junk" not in path]
    flags = ["--address", digit_server.grpc_address, "--name", "digits", "--json"]
    with Client(digit_server.grpc_address, name="digits") as client:
        first, second = client.search(paths[:1]).ids[0, :2].tolist()
        wanted = client.search_like(
            3,
            positive_images=paths[:2],
            positive_ids=[first],
            negative_ids=[second],
            negative_images=paths[2:],
            negative_weight=0.25,
        )
    capsys.readouterr()
    given = ["--positive-id", first, "--negative-id", second, "--k", "3"]
    given += ["--negative-weight", "0.25", "--negative-image", paths[2]]
    assert main([*paths[:2], *given, "--negative-image", paths[3], *flags]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in row["neighbours"]] == wanted.ids[0].tolist()
    assert row["examples"].startswith(f"{paths[0]} + {paths[1]} + {first} - ")
    assert main(["--positive-id", first, *flags[:-1]]) == 0
    assert first in capsys.readouterr().out
    for wrong, said in (
        ([], "Give an IMAGE"),
        (["--positive-id", "nobody"], "'nobody', which it does not have"),
        (
            [*paths[:1], "--negative-weight", "1"],
            "`--negative-weight` goes with negative",
        ),
        (["--positive-id", first, "--label-from-name"], "Leave it out"),
        ([*paths[:1], "--per-label", "0"], "`per_label` must be"),
        ([*paths[:1], "--min-score", "nan"], "`min_score` must be"),
    ):
        assert main([*wrong, *flags]) == 2
        assert said in capsys.readouterr().err


def test_a_pin(ask, digit_server, folder, capsys):
    assert ask("--version", "1") == ask()
    common = [str(folder), "--address", digit_server.grpc_address, "--name", "digits"]
    assert main([*common, "--version", "5"]) == 2
    assert "Specific(digits, 5)" in capsys.readouterr().err
    assert main([*common, "--label", "stable"]) == 2
    assert "Check `label`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*common, "--label", "stable", "--version", "1"])


def test_a_folder_without_images(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "where there are none" in capsys.readouterr().err
