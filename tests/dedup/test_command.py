"""The command: sources, the folder that it writes, and what it says to bad input."""

import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.sparse.csgraph

from tfembed.backbones import named
from tfembed.data import read_embeddings
from tfembed.dedup import __main__ as dedup
from tfembed.dedup import command, dedup_source, search
from tfembed.dedup.gallery import is_images
from tfembed.formats.shards import write_shard

Image = pytest.importorskip("PIL.Image")
ROOT = pathlib.Path(__file__).resolve().parents[2]
GROUPS = [
    ["cat/00-bright.png", "dog/00-small.png", "dog/00.png"],
    ["cat/01-bright.png", "cat/01-small.png", "cat/01.png"],
    ["cat/03-small.png", "cat/03.png"],
    ["dog/02-small.png", "dog/02.png"],
    ["dog/04-small.png", "dog/04.png"],
]


def groups_in(path):
    """The groups of a list, and which of each is kept."""
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    found, kept = {}, {}
    for line in lines:
        found.setdefault(line["group"], []).append(line["path"])
        if line["kept"] == "yes":
            kept[line["group"]] = line["path"]
    return sorted(sorted(each) for each in found.values()), sorted(kept.values())


KEPT = ["cat/00-bright.png", "cat/01-bright.png", "cat/03.png", "dog/02.png"]
KEPT += ["dog/04.png"]


@pytest.fixture
def whole(made, tmp_path):
    """A copy of what the command makes of `photos`."""
    return pathlib.Path(shutil.copytree(made, tmp_path / "out"))


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_folder_of_pictures(encoder, photos, tmp_path, capsys):
    before = tree(photos)
    arguments = [f"folder:{photos}", "--encoder", str(encoder)]
    arguments += ["--output", str(tmp_path / "out")]
    assert dedup.main(arguments) == 0
    assert tree(photos) == before
    out, err = capsys.readouterr()
    assert "5 groups of near duplicates among 87 pictures: 7 beside" in out
    assert "threshold 0.9" in out and "valley" in out
    assert "left out cat/broken.png" in err
    assert groups_in(tmp_path / "out" / "duplicates.csv") == (GROUPS, KEPT)
    known = json.loads((tmp_path / "out" / "dedup.json").read_text())
    assert known["threshold_from"] == "valley" and known["groups"] == 5
    assert known["count"] == 87 and known["images"] == str(photos)
    sizes = [(photos / name).stat().st_size for group in GROUPS for name in group]
    kept = [(photos / name).stat().st_size for name in KEPT]
    assert known["bytes_beside_the_kept"] == sum(sizes) - sum(kept)
    assert sorted(os.listdir(tmp_path / "out")) == [
        "dedup.json",
        "duplicates.csv",
        "embeddings",
        "index.html",
        "search.npz",
        "thumbnails",
    ]


def test_again_embeds_and_compares_nothing(
    whole, encoder, photos, monkeypatch, tmp_path, capsys
):
    from tfembed.backbones.encoder import Encoder

    monkeypatch.setattr(Encoder, "__call__", None)
    monkeypatch.setattr(search, "_compare", None)
    arguments = [f"folder:{photos}", "--encoder", str(encoder), "--output", str(whole)]
    assert dedup.main(arguments) == 0
    assert groups_in(whole / "duplicates.csv") == (GROUPS, KEPT)
    assert dedup.main([*arguments, "--threshold", "0.9999"]) == 0  # a higher one, too
    found, _ = groups_in(whole / "duplicates.csv")
    assert ["dog/02-small.png", "dog/02.png"] in found and len(found) <= 5


def test_other_pictures_are_embedded_anew(encoder, photos, made, tmp_path):
    copy, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(photos, copy)
    shutil.copytree(made, out)
    (copy / "dog" / "02-small.png").unlink()
    dedup_source(f"folder:{copy}", out, encoder=str(encoder))
    found, _ = groups_in(out / "duplicates.csv")
    assert found == [group for group in GROUPS if "dog/02.png" not in group]


@pytest.mark.parametrize("kind", ["folder", "npz", "npz:", "dedup", "parquet"])
def test_embeddings_that_are_there(kind, photos, made, tmp_path):
    source, options = made / "embeddings", []
    found = read_embeddings(source).load()
    if kind == "dedup":
        source = made
    elif kind != "folder":  # a file, which does not say of what it is
        options = ["--images", str(photos)]
        ending = kind.rstrip(":")
        if ending == "parquet":
            pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
        source = tmp_path / f"e.{ending}"
        write_shard(source, found.ids, None, found.embeddings)
    source = f"npz:{source}" if kind == "npz:" else str(source)
    out = tmp_path / "again"
    assert dedup.main([source, *options, "--output", str(out)]) == 0
    assert groups_in(out / "duplicates.csv") == (GROUPS, KEPT)
    known = json.loads((out / "dedup.json").read_text())
    assert known["images"] == str(photos)
    assert "embeddings" not in os.listdir(out)


def test_the_table_counts_at_several_thresholds(encoder, photos, tmp_path):
    done = dedup_source(f"folder:{photos}", tmp_path / "out", str(encoder))
    rows = read_embeddings(tmp_path / "out" / "embeddings").load().embeddings
    values = [value for value, _, _ in done.table]
    assert values == sorted(values, reverse=True)
    assert values[0] == 0.99 and values[-1] == 0.8
    linked = np.triu(rows @ rows.T, 1)
    for value, groups, beside in done.table:
        graph = scipy.sparse.csr_matrix(linked >= value)
        _, of = scipy.sparse.csgraph.connected_components(graph, directed=False)
        sizes = np.bincount(of)
        assert (groups, beside) == (np.sum(sizes > 1), np.sum(sizes - 1))


@pytest.mark.parametrize(
    ("source", "encoder", "are"),
    [
        ("mnist", None, True),
        ("folder:photos", None, True),
        ("csv:photos.csv", "x.keras", True),
        ("npz:rows.npz", None, False),
        ("npz:rows.npz", "x.keras", True),
        ("gallery", None, False),
        ("gallery.npz", None, False),
        ("thing:photos", None, False),
    ],
)
def test_what_is_of_images(source, encoder, are, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_images(source, encoder) == are
    if source == "mnist":  # a folder of that name is what is there
        (tmp_path / source).mkdir()
        assert not is_images(source, encoder)


def test_images_in_arrays(encoder, tmp_path, rng):
    images = rng.integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
    images[7] = images[2]
    np.savez(tmp_path / "images.npz", images=images)
    done = dedup_source(
        f"npz:{tmp_path}/images.npz", tmp_path / "out", str(encoder), threshold=0.99
    )
    expected = ["images/train/00002", "images/train/00007"]
    assert groups_in(tmp_path / "out" / "duplicates.csv")[0] == [expected]
    assert done.members.widths.tolist() == [8, 8]
    assert len(list((tmp_path / "out" / "thumbnails").iterdir())) == 2


def test_goes_on_after_being_stopped(encoder, photos, tmp_path, monkeypatch, made):
    """At several of the files that it writes: the end is the same."""

    class Stopped(BaseException):
        pass

    allowed, taken = [0], [0]
    replace = os.replace

    def counted(*names):
        if taken[0] >= allowed[0]:
            raise Stopped
        taken[0] += 1
        replace(*names)

    arguments = [f"folder:{photos}", "--encoder", str(encoder)]
    arguments += ["--output", str(tmp_path / "again")]
    opened = named.open_encoder(str(encoder))  # once, to save time
    monkeypatch.setattr(named, "open_encoder", lambda *_, **__: opened)
    monkeypatch.setattr(command, "_SHARD_SIZE", 40)
    monkeypatch.setattr(os, "replace", counted)
    ends = []
    for allowed[0] in (2, 4, 3, 1, 1, 99):  # in the first shards, in the last, ...
        taken[0] = 0
        try:
            ends.append(dedup.main(arguments))
        except Stopped:
            ends.append(None)
    assert ends == [None] * 5 + [0] and taken[0] >= 1
    monkeypatch.setattr(os, "replace", replace)
    for name in ("duplicates.csv", "index.html"):
        assert (tmp_path / "again" / name).read_bytes() == (made / name).read_bytes()


def test_without_near_duplicates(tmp_path, capsys):
    np.savez(tmp_path / "e.npz", embeddings=np.eye(5, dtype=np.float32))
    arguments = [str(tmp_path / "e.npz"), "--output", str(tmp_path / "out")]
    assert dedup.main(arguments) == 0
    assert "0 groups of near duplicates among 5" in capsys.readouterr().out
    assert "There are none." in (tmp_path / "out" / "index.html").read_text()
    lines = (tmp_path / "out" / "duplicates.csv").read_text().splitlines()
    assert lines == ["group,path,kept,width,height,bytes,score"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["folder:{photos}"], "needs --encoder"),
        (["{photos}"], "give folder:.* and --encoder"),
        (["{photos}", "--encoder", "x"], "give folder:"),
        (["nowhere.npz"], "which is not there"),
        (["folder:nowhere", "--encoder", "{encoder}"], "which is not a folder"),
        (["folder:{photos}", "--encoder", "nowhere"], "which does not exist"),
        (["folder:{photos}", "--encoder", "small_conv"], "Give --weights"),
        (
            ["{whole}", "--threshold", "2"],
            "must be a number above 0 and at most 1, a cosine",
        ),
        (["{whole}", "--groups-on-page", "0"], "`groups_on_page` must be"),
        (["{whole}", "--images", "nowhere"], "which is not a folder"),
        (["{bad}"], "must be finite.*first in row 1"),
        (
            ["folder:{photos}", "--encoder", "{encoder}", "--output", "{photos}/out"],
            "must not be in the folder of pictures",
        ),
        (["{whole}", "--output", "{photos}"], "which holds '(cat|dog)'"),
        (["{whole}", "--output", "{encoder}"], "which is a file"),
        (["{whole}", "--ask", "nowhere.jpg"], "which is not a file"),
    ],
)
def test_bad_input_is_a_sentence(
    arguments, words, whole, encoder, photos, tmp_path, capsys, monkeypatch
):
    import re

    monkeypatch.chdir(tmp_path)
    np.savez("bad.npz", embeddings=np.array([[1.0, 2], [np.inf, 1]], np.float32))
    places = {"whole": whole, "encoder": encoder, "photos": photos, "bad": "bad.npz"}
    arguments = [each.format(**places) for each in arguments]
    if "--output" not in arguments:
        arguments += ["--output", "new"]
    before = tree(photos)
    capsys.readouterr()
    assert dedup.main(arguments) == 2
    said = capsys.readouterr().err
    assert re.search(f"error: .*{words}", said, re.DOTALL), said
    assert "Traceback" not in said and tree(photos) == before
    assert not os.path.exists("new")


def test_an_output_that_is_not_complete_says_so(whole, capsys):
    (whole / "dedup.json").unlink()
    assert dedup.main([str(whole), "--ask", __file__]) == 2
    assert "has not finished. Start it again" in capsys.readouterr().err
    (whole / "dedup.json").write_text("{}")
    assert dedup.main([str(whole), "--ask", __file__]) == 2
    assert "must be what tfembed.dedup wrote" in capsys.readouterr().err


@pytest.mark.slow
def test_goes_on_after_sigkill(encoder, tmp_path, rng):
    images = rng.integers(0, 256, (9000, 16, 16, 3)).astype(np.uint8)
    images[-1] = images[0]
    np.savez(tmp_path / "many.npz", images=images)
    arguments = [sys.executable, "-m", "tfembed.dedup", f"npz:{tmp_path}/many.npz"]
    arguments += ["--encoder", str(encoder), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "out" / "embeddings" / "part-00003.npz").exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "going on after" in done.stderr
    expected = ["many/train/00000", f"many/train/{len(images) - 1:05d}"]
    found, _ = groups_in(tmp_path / "out" / "duplicates.csv")
    assert expected in found
