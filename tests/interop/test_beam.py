"""The embedding job on Beam, in this process, against the local command.

Beam wants older packages than the locks have. To run this, lay what differs over an
environment (STACK is addons or current):

    pip install --no-deps --target .venv/beam -r constraints/beam-STACK.txt
    PYTHONPATH=.venv/beam .venv/STACK/bin/python -m pytest tests/interop
"""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from tensorflow import keras

from tfembed.data import read_embeddings
from tfembed.embed import embed_source
from tfembed.layers import UnitNorm

Image = pytest.importorskip("PIL.Image")
SIDE, COUNT = 8, 23


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An encoder, a folder of images with two that are none, and the list of it."""
    root = tmp_path_factory.mktemp("beam")
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(6),
            UnitNorm(),
        ]
    )
    model.save(root / "model.keras")
    rng = np.random.default_rng(4)
    lines = []
    for number in range(COUNT):
        label = "ab"[number % 2]
        (root / "images" / label).mkdir(parents=True, exist_ok=True)
        path = root / "images" / label / f"{number:02d}.png"
        shape = (7 + number % 5, 9, 3)[: 2 + number % 2]  # gray and in colour
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(path)
        lines.append(f"{path}\t{number % 2}\n")
    broken = root / "images" / "a" / "99.jpg"
    broken.write_bytes(b"this is no image")
    lines.insert(5, f"{broken}\t0\n")
    (root / "paths.txt").write_text("".join(lines) + "\n")
    return root


def test_embeds_what_the_local_command_embeds(place, tmp_path):
    pytest.importorskip("apache_beam", exc_type=ImportError)
    from tfembed.interop import embed_files

    with open(place / "paths.txt", "a") as paths:
        paths.write(f"{place}/images/b/nowhere.png\n")
    output = tmp_path / "out"
    manifest = embed_files(
        place,  # a run directory, as it holds a model.keras
        place / "paths.txt",
        output,
        root=place / "images",
        batch_size=5,
    )
    local = embed_source(
        place / "model.keras", f"folder:{place}/images", tmp_path / "local"
    )
    found, expected = read_embeddings(output).load(), local.load()
    order = np.argsort(found.ids)
    assert found.ids[order].tolist() == expected.ids.tolist()
    np.testing.assert_allclose(found.embeddings[order], expected.embeddings, atol=1e-6)
    assert found.labels[order].tolist() == expected.labels.tolist()
    assert manifest["embedded"] == COUNT == len(found.ids)
    skipped = dict(manifest["skipped"])
    assert set(skipped) == {"a/99.jpg", "b/nowhere.png"}
    assert skipped["a/99.jpg"] == dict(local.manifest["skipped"])["a/99.jpg"]
    assert manifest["identity"]["model"] == local.manifest["identity"]["model"]
    with pytest.raises(ValueError, match="which holds '.*part-00000"):
        embed_files(place, place / "paths.txt", output)


def test_a_list_that_is_no_utf8_is_named_before_anything_is_embedded(place, tmp_path):
    pytest.importorskip("apache_beam", exc_type=ImportError)
    from tfembed.interop import embed_files

    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    with open(path, "wb") as file:
        file.write((place / "images" / "a" / "00.png").read_bytes())
    (tmp_path / "paths.txt").write_bytes(b"ok.png\n" + path + b"\t3\n")
    with pytest.raises(
        ValueError, match=r"UTF-8.*paths.txt', line 2: .*xe9.png"
    ) as error:
        embed_files("no model", tmp_path / "paths.txt", tmp_path / "out")
    assert "Rename the file" in str(error.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_worker_loads_once_and_strict_stops(place, monkeypatch):
    pytest.importorskip("apache_beam", exc_type=ImportError)
    from tfembed.interop import beam

    loaded, load = [], beam.open_encoder
    monkeypatch.setattr(
        beam, "open_encoder", lambda *each: loaded.append(each) or load(*each)
    )
    model, image = f"{place}/model.keras", place / "images" / "a" / "00.png"
    elements = [(str(image), 3, image.read_bytes(), None), ("x/y.png", -1, b"-", None)]
    for strict in (False, True):
        embed = beam.EmbedFiles(model, root=place / "images", strict=strict)._embed
        for _ in range(2):
            embed.setup()
        assert len(loaded) == 1 + strict  # each pipeline once, not each thread
        if strict:
            with pytest.raises(ValueError, match="'x/y.png'"):
                list(embed.process(elements))
            continue
        table, skipped = embed.process(elements)
        assert table.to_pydict()["id"] == ["a/00.png"]
        assert table.to_pydict()["label"] == [3]
        assert skipped.tag == "skipped" and skipped.value[0] == "x/y.png"


def test_bad_lines_and_arguments(place, tmp_path):
    pytest.importorskip("apache_beam", exc_type=ImportError)
    from tfembed.interop import EmbedFiles, beam, embed_files

    split = beam._path_and_label
    assert list(split("a b.png")) == ["a b.png"] and list(split("")) == []
    assert list(split("a\tb.png\t7")) == [("a\tb.png", 7)]
    with pytest.raises(ValueError, match="a tab and an integer"):
        list(split("a.png\tcat"))
    with pytest.raises(ValueError, match="`batch_size` must be"):
        EmbedFiles("model.keras", batch_size=0)
    with pytest.raises(ValueError, match="`model` must be"):
        embed_files(tmp_path / "none.keras", place / "paths.txt", tmp_path / "out")


def test_where_no_image_can_be_embedded_the_first_is_named(tmp_path, place):
    pytest.importorskip("apache_beam", exc_type=ImportError)
    from tfembed.interop import embed_files

    (tmp_path / "none.txt").write_text(
        f"{place}/images/a/99.jpg\n{place}/nowhere.png\n"
    )
    with pytest.raises(ValueError, match=r"none can be; the first, '.*(99|nowhere)\."):
        embed_files(place, tmp_path / "none.txt", tmp_path / "out")


def test_the_command_has_the_defaults_of_the_function():
    pytest.importorskip("apache_beam", exc_type=ImportError)
    from tfembed.interop import embed_files
    from tfembed.interop.__main__ import _parser

    parsed = vars(_parser().parse_args(["embed", "model", "paths", "output"]))
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(embed_files).parameters.items()
        if parameter.default is not inspect.Parameter.empty and name in parsed
    }
    assert {"num_shards", "batch_size", "dtype"} <= set(defaults)
    assert {name: parsed[name] for name in defaults} == defaults


def test_without_beam_a_sentence(monkeypatch, capsys):
    from tfembed.interop.__main__ import main

    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "tfembed.interop.beam", raising=False)
    assert main(["embed", "model", "paths", "output"]) == 1
    assert "pip install 'tfembed[beam]'" in capsys.readouterr().err


def test_the_command_that_writes_an_index(tmp_path, capsys):
    pytest.importorskip("faiss")
    from tfembed.interop import read_faiss
    from tfembed.interop.__main__ import main

    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    ids = np.array([f"image {row}" for row in range(30)])
    np.savez(tmp_path / "gallery.npz", embeddings=rows, ids=ids)
    assert main(["index", str(tmp_path), str(tmp_path / "rows.faiss")]) == 0
    assert "30 rows" in capsys.readouterr().out
    found, scores = read_faiss(tmp_path / "rows.faiss").search(rows, 1)
    assert found[:, 0].tolist() == ids.tolist()
    np.testing.assert_allclose(scores, 1, atol=1e-6)
    arguments = ["index", str(tmp_path), str(tmp_path / "x"), "--library", "nmslib"]
    assert main([*arguments, "--factory", "Flat"]) == 1
    assert "--factory goes with" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--runner", "DirectRunner"])


@pytest.mark.slow
def test_the_command(place, tmp_path):
    pytest.importorskip("apache_beam", exc_type=ImportError)
    command = [sys.executable, "-m", "tfembed.interop", "embed"]
    command += [str(place / "model.keras"), str(place / "paths.txt")]
    command += [str(tmp_path / "out"), "--num-shards", "2"]  # and a flag of Beam's:
    command += ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{COUNT} embeddings of 6 numbers" in done.stdout
    assert len(read_embeddings(tmp_path / "out")) == 2
    assert os.path.exists(tmp_path / "out" / "manifest.json")


def test_a_folder_is_made_here_only(tmp_path, monkeypatch):
    pytest.importorskip("apache_beam", exc_type=ImportError)
    from tfembed.interop.beam import _check_new

    monkeypatch.chdir(tmp_path)
    _check_new(str(tmp_path / "new" / "folder"))
    assert (tmp_path / "new" / "folder").is_dir()
    with pytest.raises(ValueError, match="nowhere"):  # which Beam does not know
        _check_new("nowhere://bucket/folder")
    assert [each.name for each in tmp_path.iterdir()] == ["new"]
