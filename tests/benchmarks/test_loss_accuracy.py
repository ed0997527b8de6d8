"""The comparison of all losses: its classes, its intervals, and a small whole run."""

import numpy as np
import pytest
from tensorflow import keras

from tfembed import layers, losses


@pytest.fixture
def compare(script):
    return script("loss_accuracy")


@pytest.fixture
def glyphs(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 12)
    patterns = rng.integers(0, 256, (20, 28, 28, 1))
    noise = rng.integers(-20, 21, (240, 28, 28, 1))
    images = np.clip(patterns[labels] + noise, 0, 255).astype("uint8")
    np.savez(tmp_path / "glyphs.npz", images=images, labels=labels)
    return tmp_path / "glyphs.npz"


def test_no_class_is_in_two_parts(compare, glyphs):
    options = compare.parse(["--glyphs", str(glyphs)])
    parts = compare.load("glyphs", options)
    with np.load(glyphs) as data:
        label_of = {image.tobytes(): label for image, label in zip(*data.values())}
    classes = [
        {label_of[image.tobytes()] for image in images} for images, _ in parts.values()
    ]
    assert [len(own) for own in classes] == [8, 2, 10]
    assert len(set.union(*classes)) == 20
    for (_, labels), own in zip(parts.values(), classes):
        assert set(labels) == set(range(len(own)))


def test_interval_is_student_s(compare):
    mean, half = compare.interval([0.1, 0.2, 0.6])
    assert mean == pytest.approx(0.3)
    # 4.3027 is the 97.5 % quantile of Student's t with 2 degrees of freedom.
    expected = 4.3027 * np.std([0.1, 0.2, 0.6], ddof=1) / 3**0.5
    assert half == pytest.approx(expected, rel=1e-4)


def test_every_loss_has_its_turn(compare):
    names = " ".join(compare.setups())
    for name in losses.__all__:
        if isinstance(getattr(losses, name), type):
            if name != "TemperatureSoftmax":  # of labels it is NormSoftmax
                assert name in names
    assert "Margin" in names and hasattr(layers, "Margin")


def test_every_setup_gives_a_loss(compare):
    rng = np.random.default_rng(0)
    embeddings = np.float32(rng.normal(size=(16, 8)))
    labels = np.arange(16) // 2
    for name, setup in compare.setups().items():
        embedding, label = keras.Input((8,)), keras.Input((), dtype="int64")
        output, loss = setup.build(embedding, label, 8)
        inputs = [embedding, label] if setup.labelled else embedding
        model = keras.Model(inputs, output)
        output = model([embeddings, labels] if setup.labelled else embeddings)
        value = sum(model.losses) if loss is None else loss(labels, output)
        assert np.isfinite(float(value)) and float(value) != 0, name


@pytest.mark.slow
def test_a_small_run_and_its_table(compare, glyphs, tmp_path, capsys):
    command = ["--glyphs", str(glyphs), "--datasets", "glyphs", "--seeds", "0"]
    command += ["--steps", "6", "--batch-size", "16", "--runs", str(tmp_path / "runs")]
    command += ["--losses", "CosFace", "Centers + softmax"]
    compare.main([*command, "--picture", str(tmp_path / "picture.png")])
    printed = capsys.readouterr()
    assert "8 classes (96 images) to train on" in printed.out
    for name in ("CosFace", "Centers + softmax", "(raw pixels)"):
        assert f"| {name} |" in printed.out
    assert (tmp_path / "picture.png").stat().st_size > 1000
    compare.main([*command, "--table"])  # nothing is trained again
    again = capsys.readouterr()
    assert "| CosFace |" in again.out and "R@1" not in again.err


def test_a_file_is_asked_for(compare, capsys):
    with pytest.raises(SystemExit):
        compare.parse([])
    assert "glyphs.py" in capsys.readouterr().err
