"""New pictures asked against a gallery: which rows, and the exit status."""

import csv
import io
import shutil

import brute_force_duplicates as oracle
import digits
import numpy as np
import pytest
from shared import written_once

from tfembed.data import read_embeddings
from tfembed.dedup import __main__ as dedup
from tfembed.dedup import dedup_source
from tfembed.dedup.ask import ask_gallery
from tfembed.dedup.gallery import Gallery
from tfembed.dedup.pictures import NoPictures
from tfembed.dedup.rows import Rows
from tfembed.formats.shards import write_shard

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def out(made):
    """What the command makes of `photos`."""
    return made


@pytest.fixture
def pictures(photos, tmp_path, rng):
    """A copy of a photo in another format, one like no other, and none."""
    image = Image.open(photos / "dog" / "06.png")
    image.resize((40, 40)).save(tmp_path / "copy.webp", lossless=True)
    noise = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "new.png")
    (tmp_path / "junk.png").write_bytes(b"junk")
    shutil.copy(photos / "dog" / "00.png", tmp_path / 'a, "b".png')
    return tmp_path


def answers(capsys):
    found = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return [(line["asked"], line["path"], float(line["score"])) for line in found]


def asked(source, *paths):
    return dedup.main([str(source), "--ask", *map(str, paths)])


def test_the_exit_status_tells(out, pictures, capsys):
    capsys.readouterr()
    copy, new = pictures / "copy.webp", pictures / "new.png"
    assert asked(out, copy) == 0
    ((path, name, score),) = answers(capsys)
    assert (path, name) == (str(copy), "dog/06.png") and score > 0.99
    assert asked(out, new) == 1
    assert answers(capsys) == []
    assert asked(out, new, copy) == 0
    assert [name for _, name, _ in answers(capsys)] == ["dog/06.png"]
    assert asked(out, copy, pictures / "junk.png") == 2
    out_, err = capsys.readouterr()
    assert "dog/06.png" in out_ and "junk.png: no picture that can be read" in err


def test_rows_are_those_of_brute_force(out, pictures, photos, encoder, capsys):
    """All rows at or above the threshold, the most alike first."""
    capsys.readouterr()
    asked_for = pictures / 'a, "b".png'
    arguments = [str(out), "--ask", str(asked_for), "--threshold", "0.01"]
    assert dedup.main(arguments) == 0
    found = answers(capsys)
    gallery = read_embeddings(out / "embeddings").load()
    pixels = np.asarray(Image.open(asked_for).resize((8, 8), Image.Resampling.BILINEAR))
    query = pixels.reshape(-1) / 127.5 - 1
    query /= np.linalg.norm(query)
    scores = gallery.embeddings.astype(np.float64) @ query
    expected = np.flatnonzero(scores > 0.013)
    assert len(expected) > 5
    names = {name for path, name, _ in found}
    assert set(gallery.ids[expected]) <= names
    assert names <= set(gallery.ids[scores > 0.007])
    assert [score for *_, score in found] == sorted(
        (score for *_, score in found), reverse=True
    )
    by_name = dict(zip(gallery.ids, scores))
    for path, name, score in found:
        assert path == str(asked_for)
        assert score == pytest.approx(by_name[name], abs=3e-3)


@pytest.mark.parametrize("kind", ["folder", "npz", "run", "named"])
def test_galleries_of_all_kinds(kind, encoder, made, pictures, tmp_path, capsys):
    source, options = tmp_path / "gallery", []
    found = read_embeddings(made / "embeddings").load()
    if kind == "folder":
        source = made / "embeddings"
    else:
        source.mkdir()
        write_shard(source / "gallery.npz", found.ids, None, found.embeddings)
        options = ["--encoder", str(encoder)]
    if kind == "npz":
        source = source / "gallery.npz"
    if kind == "run":
        shutil.copy(encoder, source / "model.keras")
        options = []
    asks_right(source, options, pictures, capsys)


def asks_right(source, options, pictures, capsys):
    capsys.readouterr()
    arguments = [str(source), *options, "--threshold", "0.97", "--ask"]
    assert dedup.main([*arguments, str(pictures / "copy.webp")]) == 0
    ((_, name, score),) = answers(capsys)
    assert name == "dog/06.png" and score > 0.99
    assert dedup.main([*arguments, str(pictures / "new.png")]) == 1


def test_an_export_embeds_by_itself(tmp_path_factory, tmp_path, capsys):
    """The digits of the server's tests, so that the export is paid once."""
    models = written_once(tmp_path_factory, "digits", digits.write) / "models"
    images, _ = digits.load()
    for row in (5, 1500):  # one of the gallery, and one that is none of it
        Image.fromarray(images[row, ..., 0]).save(tmp_path / f"{row}.png")
    for source in (models, models / "1"):
        capsys.readouterr()
        arguments = [str(source), "--threshold", "0.999", "--ask"]
        assert dedup.main([*arguments, str(tmp_path / "5.png")]) == 0
        ((_, name, score),) = answers(capsys)
        assert name == "digits/0005.png" and score > 0.9999
        assert dedup.main([*arguments, str(tmp_path / "1500.png")]) == 1
    # Compared with itself, it has what brute force finds.
    floats = images[: digits.GALLERY].astype(np.float32)
    scores = oracle.cosines(digits.encoder().predict(floats, verbose=0))
    threshold = oracle.between(scores, 0.95)
    done = dedup_source(models, tmp_path / "out", threshold=threshold)
    found = [group.tolist() for group in done.found.groups]
    assert found == oracle.groups(scores, threshold) and len(found) > 3


def test_without_a_threshold_the_default_is_said(made, pictures, capsys):
    assert asked(made / "embeddings", pictures / "copy.webp") == 0
    assert "the threshold is the default, 0.95" in capsys.readouterr().err


def test_another_encoder_is_refused(out, pictures, tmp_path, capsys):
    from tensorflow import keras

    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(192)]
    )
    model.save(tmp_path / "other.keras")
    arguments = [str(out), "--encoder", str(tmp_path / "other.keras"), "--ask"]
    capsys.readouterr()
    assert dedup.main([*arguments, str(pictures / "copy.webp")]) == 2
    assert "must be the one that the gallery is of" in capsys.readouterr().err
    np.savez(tmp_path / "g.npz", embeddings=np.eye(3, 7))
    arguments = [str(tmp_path / "g.npz"), "--ask", str(pictures / "copy.webp")]
    assert dedup.main(arguments) == 2
    assert "Received: neither" in capsys.readouterr().err
    assert dedup.main([*arguments, "--encoder", str(tmp_path / "other.keras")]) == 2
    assert "192 numbers, and a gallery of 7" in capsys.readouterr().err


def test_by_blocks_and_many_pictures(rng, tmp_path):
    """Against brute force in float64, with blocks and batches that do not divide."""
    values = rng.standard_normal((90, 6))
    queries = values[:70] + 0.2 * rng.standard_normal((70, 6))
    gallery = Gallery("g", "g", Rows([(values, None)]), NoPictures())
    paths = []
    for number in range(70):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(np.full((1, 1, 3), number, np.uint8)).save(paths[-1])
    given = iter(queries)

    def embed(encoded):
        rows = np.array([next(given) for _ in encoded])
        return rows, np.ones(len(rows), bool)

    found = ask_gallery(paths, gallery, 0.8, embed, block=32)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for query, hits in zip(queries, found):
        scores = unit @ query
        order = np.argsort(-scores)
        expected = [str(row) for row in order if scores[row] >= 0.8]
        assert [name for name, _ in hits] == expected
