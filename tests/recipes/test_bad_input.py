"""What users hand in: no labels, lone, odd or broken images, none, a full disk."""

import csv
import itertools
import resource

import numpy as np
import pytest
from PIL import Image
from small_runs import arguments, run_quietly

from tfembed.recipes import instdisc, invaspread, isl, supervised

SMALL = {"image_size": 16, "epochs": 1, "batch_size": 8, "dim": 8}
CLASSED = {**SMALL, "samples_per_class": 4}
MODES = ("RGB", "L", "P", "RGBA", "LA", "1")


def write_image(path, number):
    """Images of many sizes and of all modes that PNG has."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (18 + number % 5, 20 + number % 7, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(MODES[number % len(MODES)]).save(path)


def refused(recipe, run_dir, settings, capsys, **more):
    """Returns what a refused run says; nothing may stay of it."""
    with pytest.raises(SystemExit) as stopped:
        recipe.main(arguments(run_dir, settings, **more))
    assert stopped.value.code == 2
    assert not run_dir.exists()
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "recipe, settings",
    [
        (instdisc, SMALL),
        (invaspread, SMALL),
        (isl, {**SMALL, "epochs": 2}),
        (supervised, CLASSED),
    ],
    ids=["instdisc", "invaspread", "isl", "supervised"],
)
def test_a_folder_without_images(recipe, settings, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    source = f"folder:{tmp_path / 'images'}"
    said = refused(recipe, tmp_path / "run", settings, capsys, dataset=source)
    assert said.startswith("error: `folder:PATH` must hold images (.jpg")
    assert str(tmp_path / "images") in said


@pytest.mark.parametrize("split", ["unseen", "seen"])
def test_supervision_without_labels(split, tmp_path, capsys):
    for number in range(16):
        write_image(tmp_path / "images" / f"{number}.png", number)
    source = f"folder:{tmp_path / 'images'}"
    said = refused(
        supervised, tmp_path / "run", CLASSED, capsys, dataset=source, split=split
    )
    assert "needs a label for each image" in said


def test_odd_broken_and_lone_images(tmp_path, caplog, capsys):
    images = tmp_path / "images"
    for number in range(48):
        write_image(images / f"class{number % 3}" / f"{number}.png", number)
    write_image(images / "lone" / "only.png", 99)
    (images / "class0" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (images / "class1" / "nothing.jpg").write_bytes(b"")
    result = run_quietly(
        supervised, tmp_path / "run", CLASSED, dataset=f"folder:{images}"
    )
    # Of the classes' halves the second is measured, and the lone one is in it.
    assert result["training_images"] == 32
    assert result["test_images"] == 17
    assert result["lone_images"] == 1
    said = capsys.readouterr().out
    assert "test images alone in their class, and in no mean: 1" in said
    assert "class0/broken.png: Invalid PNG" in caplog.text
    assert "{{" not in caplog.text and "[Op:" not in caplog.text


def test_validation_images_are_watched_and_not_reported(tmp_path, capsys):
    """Colours tell the classes; those of the test images are the other way round."""
    blue, red = "blue" * 62, "\u7ea2" * 83  # as long as a folder's name can be
    colours = {blue: (0, 0, 255), red: (255, 0, 0)}
    for part, n, label in itertools.product(
        ["train", "val", "test"], range(20), colours
    ):
        shown = label if part != "test" else {blue: red, red: blue}[label]
        path = tmp_path / "images" / part / label / f"{n:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), colours[shown]).save(path)
    settings = {**CLASSED, "split": "seen", "linear_probe": False, "hue": 0}
    source = f"folder:{tmp_path / 'images'}"
    run_dir = tmp_path / "run"
    result = run_quietly(supervised, run_dir, settings, grayscale=0, dataset=source)
    with open(run_dir / "log.csv") as file:
        (row,) = csv.DictReader(file)
    assert float(row["knn_10"]) == 1.0
    assert result["table"][-1]["knn_10"] == 0.0
    assert (result["validation_images"], result["test_images"]) == (40, 40)
    samples = sorted(path.name for path in (run_dir / "queries").iterdir())
    assert len(samples) == 8 and max(map(len, map(str.encode, samples))) < 130
    with np.load(run_dir / "queries.npz") as queries:
        assert all(name.startswith("test/") for name in queries["ids"])
    said = capsys.readouterr().err
    assert "parts: train (40 images), val (40 images to watch the training by)" in said


def test_a_full_disk_is_told_and_the_run_goes_on_later(tmp_path, capsys):
    settings = {**CLASSED, "dataset": "synthetic", "limit": 64, "test_limit": 32}
    settings["softmax_baseline"] = False
    run_dir = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may be larger than this; what the optimizer remembers is.
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(SystemExit) as stopped:
            supervised.main(arguments(run_dir, settings))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: There is no room for 'epoch-00001' in")
    assert "free some room and start again" in said
    assert not list((run_dir / "backup").glob("*"))
    result = run_quietly(supervised, run_dir, settings)
    assert result["epochs"] == 1
