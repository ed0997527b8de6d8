"""The command on each kind of target, and what it says to bad input."""

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
from tensorflow import keras

from tfembed.evaluate import __main__ as command
from tfembed.evaluate.measured import evaluate
from tfembed.metrics import compare, measure_seen, measure_unseen

SIDE, DIM, CLASSES = 6, 3, 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images, a saved encoder, runs by hand, and files of embeddings."""
    root = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(0)
    labels = np.arange(48) % CLASSES
    images = rng.integers(0, 90, (48, SIDE, SIDE, 1)) + 40 * labels[:, None, None, None]
    images = images.astype(np.uint8)
    np.savez(
        root / "images.npz",
        x_train=images[:30],
        y_train=labels[:30],
        x_test=images[30:],
        y_test=labels[30:],
    )
    np.savez(root / "unlabelled_images.npz", images=images)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(DIM, "tanh"),
        ]
    )
    model.save(root / "encoder.keras")
    x = model.predict(images.astype("float32"), verbose=0)
    ids = np.array([f"image {n}" for n in range(48)])
    for name, protocol, rows in (
        ("seen", "seen", slice(30)),
        ("unseen", "unseen", slice(48)),
        ("old", None, slice(30)),
    ):
        (root / name).mkdir()
        (root / name / "result.json").write_text(json.dumps({"protocol": protocol}))
        np.savez(
            root / name / "gallery.npz",
            embeddings=x[rows],
            labels=labels[rows],
            ids=ids[rows],
            vote_temperature=np.float32(0.5),
        )
    rest = {"embeddings": x[30:], "labels": labels[30:], "ids": ids[30:]}
    np.savez(root / "seen" / "queries.npz", **rest)
    moved = x + rng.normal(scale=0.3, size=x.shape).astype("float32")
    order = rng.permutation(48)
    np.savez(root / "all.npz", embeddings=x, labels=labels, ids=ids)
    np.savez(
        root / "other.npz",
        embeddings=moved[order],
        labels=labels[order],
        ids=ids[order],
    )
    return root, x, labels, moved


def run(capsys, *words, status=0):
    """Runs the command; returns what it printed, or the error."""
    assert command.main([str(word) for word in words]) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def read(path):
    (row,) = json.loads(path.read_text())["table"]
    return row


def same(row, measured):
    """Compares a row of JSON with what the metrics say."""
    for name, value in measured.values.items():
        assert row[name] == pytest.approx(value, abs=1e-6), name
    for name, pair in measured.intervals.items():
        assert row["intervals"][name] == pytest.approx(list(pair), abs=1e-6), name
    assert set(row) == {"representation", "intervals", *measured.values}


def test_a_run_on_seen_classes(place, tmp_path, capsys):
    root, x, labels, _ = place
    out, dump = tmp_path / "out.json", tmp_path / "queries.npz"
    printed = run(
        capsys,
        root / "seen",
        "--knn=3",
        "--ks=1",
        "--linear-probe",
        f"--output={out}",
        f"--per-query={dump}",
    )
    expected = measure_seen(
        x[30:],
        labels[30:],
        x[:30],
        labels[:30],
        knn=(3,),
        ks=(1,),
        temperature=0.5,
        probe=True,
    )
    same(read(out), expected)
    assert json.loads(out.read_text())["knn_temperature"] == 0.5
    assert f"{expected.values['knn_3']:.4f}" in printed
    assert "18 queries, a gallery of 30" in printed
    with np.load(dump) as file:
        np.testing.assert_array_equal(file["MAP@R"], expected.per_query["MAP@R"])
        assert file["ids"][0] == "image 30"


def test_a_run_on_unseen_classes(place, tmp_path, capsys):
    root, x, labels, _ = place
    out = tmp_path / "out.json"
    run(
        capsys,
        root / "unseen",
        "--ks=1",
        "--clustering",
        "--restarts=2",
        "--confidence=0.8",
        f"--output={out}",
    )
    expected = measure_unseen(
        x, labels, ks=(1,), cluster={"restarts": 2}, confidence=0.8
    )
    same(read(out), expected)


def test_embeddings_against_others_on_the_same_queries(place, tmp_path, capsys):
    root, x, labels, moved = place
    out = tmp_path / "out.json"
    files = root / "all.npz", "--compare", root / "other.npz"
    printed = run(capsys, *files, "--ks", "1", f"--output={out}")
    first, second = (measure_unseen(each, labels, ks=(1,)) for each in (x, moved))
    expected = compare(first.per_query, second.per_query)
    found = json.loads(out.read_text())["comparison"]["numbers"]
    for name, each in expected.items():
        assert found[name]["difference"] == pytest.approx(each.difference)
        assert found[name]["queries"] == 48
        (line,) = (line for line in printed.splitlines() if line.split()[:1] == [name])
        assert f" {each.second:.4f} " in line and f" {each.difference:+.4f} " in line
    assert found["R@1"]["p_value"] == pytest.approx(expected["R@1"].p_value)
    assert "difference" in printed and "48 queries that both have" in printed


def test_an_encoder_on_images(place, tmp_path, capsys):
    root, x, labels, _ = place
    out = tmp_path / "out.json"
    source = f"--dataset=npz:{root / 'images.npz'}"
    model = root / "encoder.keras"
    run(capsys, model, source, "--knn=2", "--ks=1", f"--output={out}", "--quiet")
    same(
        read(out),
        measure_seen(x[30:], labels[30:], x[:30], labels[:30], knn=(2,), ks=(1,)),
    )
    run(capsys, model, source, "--split=whole", "--ks=1", f"--output={out}")
    same(read(out), measure_unseen(x, labels, ks=(1,)))


def test_a_backbone_by_its_name_alone_and_beside_another_encoder(
    place, tmp_path, capsys
):
    """It is measured as it is; `--weights` is told to it, and not to the other."""
    from tfembed.backbones import build_backbone

    root, x, labels, _ = place
    with np.load(root / "images.npz") as file:
        images = np.concatenate([file["x_train"], file["x_test"]]).astype(np.float32)
    network = build_backbone("small_conv", (SIDE, SIDE, 1), seed=0, pool="max")
    features = network.predict(images, verbose=0)
    own, given = (
        measure_seen(each[30:], labels[30:], each[:30], labels[:30], knn=(2,), ks=(1,))
        for each in (features, x)
    )
    words = ["--dataset", f"npz:{root / 'images.npz'}", "--knn=2", "--ks=1", "--quiet"]
    words += ["--weights=none", "--pool=max", f"--image-size={SIDE}", "--channels=1"]
    out = tmp_path / "out.json"
    run(capsys, "small_conv", *words, f"--output={out}")
    same(read(out), own)
    words += ["--compare", "small_conv", f"--output={out}"]
    printed = run(capsys, root / "encoder.keras", *words)
    same(read(out), given)
    found = json.loads(out.read_text())["comparison"]["numbers"]["R@1"]
    assert found["second"] == pytest.approx(own.values["R@1"])
    assert found["difference"] == pytest.approx(given.values["R@1"] - own.values["R@1"])
    assert "compared with small_conv on npz:" in printed


@pytest.fixture
def photos(tmp_path):
    """Files of mixed sizes and modes in a folder a class, one of them no image."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(1)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n, side in enumerate((SIDE, 9, 12)):
            pixels = rng.integers(0, 255, (side, SIDE, 3)).astype(np.uint8)
            picture = image.fromarray(pixels).convert(("RGB", "L", "P")[n])
            picture.save(tmp_path / "photos" / name / f"{n}.png")
    (tmp_path / "photos" / "cat" / "3.png").write_bytes(b"no image")
    return f"--dataset=folder:{tmp_path / 'photos'}"


def test_images_that_do_not_decode_are_counted(place, photos, capsys):
    words = place[0] / "encoder.keras", photos, "--split=whole", "--ks=1"
    printed = run(capsys, *words)
    assert "6 queries, each among all others" in printed
    assert "1 images do not decode and are left out: cat/3.png" in printed


@pytest.mark.slow
def test_images_that_do_not_decode_stop_where_that_is_asked_for(place, photos, capsys):
    words = place[0] / "encoder.keras", photos, "--split=whole", "--strict"
    error = run(capsys, *words, status=1)
    assert "cat/3.png" in error and "--strict" in error


def test_what_the_embedding_job_wrote(place, tmp_path, capsys):
    from tfembed.formats.shard_writer import open_shards

    _, x, labels, _ = place
    with open_shards(
        tmp_path / "shards", {"format": "npz", "dim": DIM}, {"images": 48}, []
    ) as shards:
        for part in (slice(20), slice(20, 48)):
            ids = np.array([f"image {n}" for n in range(48)])[part]
            shards.add(ids, labels[part], x[part], skipped=[])
        shards.finish()
    out = tmp_path / "out.json"
    run(capsys, tmp_path / "shards", "--ks=1", f"--output={out}")
    same(read(out), measure_unseen(x, labels, ks=(1,)))


def test_rows_without_a_label_and_lone_rows_are_counted(place, tmp_path, capsys):
    _, x, labels, _ = place
    labels = labels.copy()
    labels[:5], labels[5] = -1, 77
    np.savez(tmp_path / "some.npz", embeddings=x, labels=labels)
    printed = run(capsys, tmp_path / "some.npz", "--ks=1")
    assert "5 rows of" in printed and "no label: left out" in printed
    assert "1 queries have no other image of their class" in printed


def test_names_as_labels(tmp_path, capsys):
    names = np.array(["cat", "dog", "", "cat", "dog"])
    np.savez(tmp_path / "a.npz", embeddings=np.eye(5), labels=names)
    assert "4 queries, each among all others" in run(capsys, tmp_path / "a.npz")


BAD = [
    ("{root}/nothing", "does not exist"),
    ("{root}/encoder.keras", "needs --dataset"),
    ("small_conv --weights none", "needs --dataset"),
    ("small_conv --dataset synthetic", "must name the weights of small_conv"),
    ("small_conv --weights imagenet --dataset synthetic", "Received.*imagenet"),
    ("torchvision:resnet --dataset synthetic", "torchvision:resnet18, "),
    (
        "{root}/encoder.keras --dataset synthetic --weights none",
        "--weights goes with a backbone's name",
    ),
    ("{root}/all.npz --compare {root}/all.npz --pool max", "--pool goes with"),
    ("{root}/old", "must hold queries.npz"),
    ("{root}", "without gallery.npz"),
    ("{root}/all.npz --dataset synthetic", "goes with a saved encoder"),
    ("{root}/seen --gallery {root}/all.npz", "goes with a file of embeddings"),
    ("{root}/all.npz --gallery {root}/none.npz", "does not exist"),
    ("{root}/all.npz --gallery {bad}/narrow.npz", "of one encoder"),
    ("{root}/all.npz --compare {root}/seen", "the same protocol"),
    ("{root}/all.npz --compare {bad}/other_labels.npz", "other labels"),
    ("{root}/all.npz --compare {bad}/few.npz", "in common, by id"),
    ("{root}/all.npz --compare-gallery {root}/all.npz", "goes with --compare"),
    ("{root}/all.npz --output {root}/no/folder.json", "a folder that is there"),
    ("{root}/all.npz --confidence 95", "between 0 and 1"),
    ("{root}/all.npz --ks 0", "must be 1 or more"),
    ("{root}/all.npz --temperature 0", "must be positive"),
    ("{bad}/text.npz", "whole NumPy archive"),
    ("{bad}/no_embeddings.npz", "must hold the array `embeddings`"),
    ("{bad}/no_labels.npz", "must hold the array `labels`"),
    ("{bad}/unknown.npz", "none of them with a label"),
    ("{bad}/lengths.npz", "one entry for each of the 4 rows"),
    ("{bad}/flat.npz", r"a float array \(n, d\)"),
    ("{bad}/nan.npz", "must be finite"),
    (
        "{root}/encoder.keras --dataset npz:{root}/unlabelled_images.npz",
        "with labels to be measured",
    ),
    ("{root}/encoder.keras --dataset nowhere", "must be one of"),
    ("{bad}/text.keras --dataset synthetic", "can load"),
]


@pytest.fixture(scope="module")
def bad(tmp_path_factory, place):
    root, x, labels, _ = place
    folder = tmp_path_factory.mktemp("bad")
    eye = np.eye(4)
    (folder / "text.npz").write_text("no archive")
    (folder / "text.keras").write_text("no model")
    ids = np.array([f"image {n}" for n in range(48)])
    for name, arrays in {
        "no_embeddings": {"labels": labels},
        "no_labels": {"embeddings": eye},
        "unknown": {"embeddings": eye, "labels": np.full(4, -1)},
        "lengths": {"embeddings": eye, "labels": np.arange(3)},
        "flat": {"embeddings": np.arange(4.0), "labels": np.arange(4)},
        "nan": {"embeddings": np.full((4, 2), np.nan), "labels": [0, 0, 1, 1]},
        "narrow": {"embeddings": np.eye(4), "labels": np.arange(4)},
        "few": {"embeddings": eye, "labels": [0, 0, 1, 1], "ids": list("abcd")},
        "other_labels": {"embeddings": x, "labels": labels[::-1], "ids": ids},
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_input_gets_a_sentence(words, message, place, bad, capsys):
    words = words.format(root=place[0], bad=bad).split()
    error = run(capsys, *words, status=1)
    assert error.startswith("error: ") and "Traceback" not in error
    import re

    assert re.search(message, error), error


def test_a_full_disk_leaves_nothing_behind(place, tmp_path, capsys, monkeypatch):
    import errno

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    words = place[0] / "all.npz", f"--output={tmp_path / 'out.json'}"
    assert "No space left on device" in run(capsys, *words, status=1)
    assert not list(tmp_path.iterdir())


def test_the_command_has_the_defaults_of_the_function():
    parsed = vars(command._parser().parse_args(["x.npz"]))
    for name, parameter in inspect.signature(evaluate).parameters.items():
        if name in parsed and parameter.default is not inspect.Parameter.empty:
            default = parameter.default
            default = list(default) if isinstance(default, tuple) else default
            assert parsed[name] == default, name


def test_help_without_tensorflow():
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from tfembed.evaluate.__main__ import main; main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "--compare OTHER" in done.stdout
