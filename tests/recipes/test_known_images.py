"""A run goes on with the images that it began with, or not at all."""

import os

import numpy as np
import pytest
from PIL import Image
from small_runs import arguments, run_quietly

from tfembed.recipes import instdisc

PLAIN = dict.fromkeys(["brightness", "contrast", "saturation", "hue", "grayscale"], 0)
SMALL = {"image_size": 8, "epochs": 1, "batch_size": 8, "dim": 4, "linear_probe": False}
SMALL.update(PLAIN, crop_min=1)


def _write(path, number):
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that lacks its result alone, and its images."""
    folder = tmp_path_factory.mktemp("known")
    for part, count in (("train", 8), ("val", 4), ("test", 4)):
        for number in range(count * 2):
            label = "ab"[number % 2]
            _write(folder / f"images/{part}/{label}/{number:02d}.bmp", number)
    settings = {**SMALL, "dataset": f"folder:{folder / 'images'}"}
    run_quietly(instdisc, folder / "run", settings)
    (folder / "run" / "result.json").unlink()
    return folder, settings


def _changed(folder):
    """Same size, same time of modification."""
    path = folder / "images/train/a/02.bmp"
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:60] + bytes(255 - each for each in content[60:]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return lambda: path.write_bytes(content)


def _moved(folder):
    path, to = folder / "images/train/a/04.bmp", folder / "images/train/b/04.bmp"
    path.rename(to)
    return lambda: to.rename(path)


def _more(folder):
    path = folder / "images/test/b/more.bmp"
    _write(path, 1)
    return path.unlink


def _less(folder):
    path = folder / "images/val/b/01.bmp"
    content = path.read_bytes()
    path.unlink()
    return lambda: path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_changed, "1 training images changed (train/a/02.bmp)"),
        (
            _moved,
            "1 training images gone (train/a/04.bmp); 1 training images new "
            "(train/b/04.bmp)",
        ),
        (_more, "1 test images new (test/b/more.bmp)"),
        (_less, "1 validation images gone (val/b/01.bmp)"),
    ],
)
def test_other_images_are_refused_by_name(change, said, stopped, capsys):
    folder, settings = stopped
    files = {path: path.stat() for path in (folder / "run").rglob("*")}
    undo = change(folder)
    try:
        with pytest.raises(SystemExit) as refused:
            instdisc.main(arguments(folder / "run", settings))
    finally:
        undo()
    assert refused.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"was trained on other images than there are now: {said}. Put" in error
    assert not (folder / "run" / "result.json").exists()
    assert set(files) == set((folder / "run").rglob("*"))


def test_the_same_images_go_on_and_so_does_a_run_without_a_fingerprint(stopped, capsys):
    folder, settings = stopped
    for path in (folder / "images").rglob("*.bmp"):
        os.utime(path, (7, 7))  # times alone are no difference
    run_quietly(instdisc, folder / "run", settings)
    assert "unchecked" not in capsys.readouterr().err
    (folder / "run" / "result.json").unlink()
    (folder / "run" / "data.npz").unlink()  # of an earlier version
    run_quietly(instdisc, folder / "run", settings)
    assert "does not say which images it began with" in capsys.readouterr().err
    assert (folder / "run" / "data.npz").exists()


def test_labels_and_order_are_told(tmp_path):
    from tfembed.recipes import known_images

    contents = np.arange(48, dtype=np.uint8).reshape(3, 16)
    before = {
        "train_names": np.array([b"x", b"y", b"z"]),
        "train_contents": contents,
        "train_labels": np.array([0, 1, 1]),
    }
    np.savez(tmp_path / "data.npz", **before)
    assert known_images.check(tmp_path, before)
    for change, said in (
        ({"train_labels": np.array([0, 0, 1])}, "1 training images of another class"),
        ({key: each[::-1] for key, each in before.items()}, "in another order"),
    ):
        with pytest.raises(ValueError, match=said):
            known_images.check(tmp_path, {**before, **change})
