"""From an encoder and a folder of images to a served search, by one command."""

import json
import os
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from backbones.torch_writer import write_zip
from peers.torch_weights import draw_state
from shared import written_once
from tensorflow import keras

from tfembed import publish as publishing
from tfembed.backbones import open_encoder
from tfembed.backbones.encoder import Encoder
from tfembed.data import read_embeddings
from tfembed.embed import embed_source
from tfembed.export import model as exporting
from tfembed.export import read_served_gallery, update_gallery
from tfembed.export.run_directory import make_gallery
from tfembed.export.threshold import choose_threshold
from tfembed.layers import UnitNorm
from tfembed.serving.thumbnails import open_thumbnails

Image = pytest.importorskip("PIL.Image")
SIDE, COUNT = 32, 24
SMALL = {"weights": "none", "image_size": SIDE}
NAME = "torchvision:resnet18"


def write_photos(folder, flat=False, count=COUNT):
    """Writes photos in three colours, a class each, of mixed sizes and with noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        kind = number % 3
        below = folder if flat else folder / ("red", "green", "blue ö")[kind]
        below.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (40 + number, 50, 3))
        pixels[..., kind] += rng.integers(60, 180)
        photo = Image.fromarray(pixels.astype(np.uint8))
        photo.save(below / f"photo {number:02d}.jpg")


def write_weights(path):
    """Writes a file of PyTorch's for `NAME`, of drawn numbers."""
    from backbones.test_torchvision import recorded

    write_zip(path, draw_state(recorded("resnet18")[1], 1))


class Published:
    """What the command wrote of a folder of photos, and what it said."""

    def __init__(self, folder):
        self.photos, self.weights = folder / "photos", folder / "mine.pth"
        self.base = folder / "models" / "photos"
        self.version = self.base / "1"
        self.said = (folder / "said.txt").read_text("utf-8")
        self.flags = ["--weights", str(self.weights), "--image-size", str(SIDE)]
        self.source = f"folder:{self.photos}"

    @classmethod
    def write(cls, folder):
        write_photos(folder / "photos")
        (folder / "photos" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xffno image")
        write_weights(folder / "mine.pth")
        (folder / "said.txt").touch()
        place, lines = cls(folder), []
        publishing.publish(
            NAME,
            place.base,
            place.source,
            weights=place.weights,
            image_size=SIDE,
            k=5,
            report=lines.append,
            warmup_batches=(1,),
        )
        (folder / "said.txt").write_text("\n".join(lines), "utf-8")

    def encoder(self):
        return open_encoder(NAME, self.weights, image_size=SIDE)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return Published(written_once(tmp_path_factory, "published", Published.write))


@pytest.fixture(scope="module")
def rows(published, tmp_path_factory):
    """The embeddings that `tfembed.embed` gives of the same photos, divided."""
    output = tmp_path_factory.mktemp("rows") / "rows.npz"
    found = embed_source(published.encoder(), published.source, output).load()
    rows = np.float64(found.embeddings)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), found


def card(version):
    return json.loads((version / "card.json").read_text("utf-8"))


def test_the_gallery_is_what_embed_gives(published, rows):
    gallery = read_served_gallery(published.version)
    expected, found = rows
    np.testing.assert_allclose(gallery.embeddings, expected, atol=1e-6)
    assert gallery.ids.tolist() == found.ids.tolist()
    names = [gallery.class_names[label] for label in gallery.labels]
    assert names == [each.partition("/")[0] for each in gallery.ids]
    assert len(gallery.ids) == COUNT and gallery.vote_k == 5


def test_the_ids_lead_to_the_pictures(published):
    gallery = read_served_gallery(published.version)
    find = open_thumbnails(published.photos)
    assert all(find(each) is not None for each in gallery.ids)
    assert f"--images {str(published.photos)!r}" not in published.said  # main() says it
    lines = publishing.next_steps(published.base, "folder:my photos,layout=classes")
    assert any("--images 'my photos'" in line for line in lines)


def test_a_photo_finds_itself(published):
    search = tf.saved_model.load(str(published.version)).signatures["serving_default"]
    asked = published.photos / "blue ö" / "photo 02.jpg"
    found = search(image_bytes=tf.constant([asked.read_bytes()]))
    assert found["ids"].numpy()[0, 0].decode() == "blue ö/photo 02.jpg"
    assert found["scores"].numpy()[0, 0] == pytest.approx(1, abs=1e-4)
    assert found["ids"].shape == (1, 5) and found["known"].numpy()[0]


def test_the_threshold_lets_95_of_100_held_out_rows_pass(published, rows):
    scores = rows[0] @ rows[0].T
    np.fill_diagonal(scores, -np.inf)
    known = card(published.version)["known"]
    expected = np.quantile(scores.max(axis=1), 0.05)
    assert known["threshold"] == pytest.approx(expected, abs=1e-6)
    assert "rows of the gallery" in known["calibrated_on"]
    assert known["queries"] == COUNT


def test_the_card_says_which_weights_and_how_good(published, rows):
    from tfembed.backbones.download import file_digest

    found, scores = card(published.version), rows[0] @ rows[0].T
    assert found["method"] == {
        "backbone": NAME,
        "pool": "avg",
        "weights": "mine.pth",
        "weights_source": "a given file",
        "weights_sha256": file_digest(published.weights),
        "weights_licence": "as whoever published the file says",
        "weights_checked": "unverified",
    }
    assert found["gallery"]["source"] == published.source
    assert found["data"] == {"images_left_out": 1}
    assert found["encoder"]["normalize"] is True
    np.fill_diagonal(scores, -np.inf)
    labels = np.array([each.partition("/")[0] for each in rows[1].ids])
    nearest = (labels[scores.argmax(axis=1)] == labels).mean()
    (metrics,) = found["metrics"]
    assert metrics["knn_1"] == pytest.approx(nearest)
    assert f"{100 * nearest:.1f} % find their class by the nearest" in published.said


def test_it_says_what_it_does_and_leaves_nothing_behind(published):
    assert f"{COUNT + 1} images of {published.source}" in published.said
    assert "left out red/broken.jpg: " in published.said
    visible = {path.name for path in published.base.iterdir()}
    assert visible == {"1", ".tfembed-highest-version"}


@pytest.fixture
def exports(monkeypatch):
    """What is handed to `export`, which is tried above, in the place of an export."""
    taken = []

    def export(encoder, gallery, path, **options):
        taken.append({"encoder": encoder, "gallery": gallery, **options})
        return Path(path) / "1"

    monkeypatch.setattr(exporting, "export", export)
    return taken


def unit_encoder():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(6),
            UnitNorm(),
        ]
    )


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a-run")
    unit_encoder().save(folder / "model.keras")
    config = {"recipe": "instdisc", "dataset": "cifar10", "backbone": "small_conv"}
    (folder / "config.json").write_text(json.dumps(config))
    table = [{"representation": "trained encoder", "knn_10": 0.5}]
    (folder / "result.json").write_text(json.dumps({"table": table, "epochs": 3}))
    return folder


def test_a_run_and_its_model_are_published_with_what_they_say(
    run_dir, published, exports, tmp_path
):
    alone = shutil.copy(run_dir / "model.keras", tmp_path / "mine.keras")
    for encoder in (run_dir, run_dir / "model.keras", alone):
        publishing.publish(encoder, tmp_path / "base", published.source, report=None)
    found = embed_source(run_dir, published.source, tmp_path / "rows.npz").load()
    for taken in exports:
        assert not taken["normalize"]  # it gives unit rows
        np.testing.assert_array_equal(taken["gallery"]["embeddings"], found.embeddings)
        assert taken["encoder"].output_shape == (None, 6)
        assert all(sample.shape == (8, 8, 3) for sample in taken["samples"])
    of_run, of_model, of_file = (taken["facts"] for taken in exports)
    assert of_run == of_model
    assert of_run["data"] == {"dataset": "cifar10", "images_left_out": 1}
    assert of_run["method"]["recipe"] == "instdisc" and of_run["method"]["epochs"] == 3
    assert of_run["metrics"][0]["knn_10"] == 0.5 and len(of_run["metrics"]) == 2
    assert of_file["method"] == {"encoder": "mine.keras"}
    assert not (tmp_path / "base").exists()  # as nothing was exported into it


@pytest.mark.parametrize("output", ["rows", "rows.npz"])
def test_embeddings_are_not_made_again(run_dir, published, exports, tmp_path, output):
    embed_source(run_dir, published.source, tmp_path / output, shard_size=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "embed_source", None)
        publishing.publish(
            run_dir, tmp_path / "base", tmp_path / output, report=None, k=3
        )
    (taken,) = exports
    found = read_embeddings(tmp_path / output).load()
    np.testing.assert_array_equal(taken["gallery"]["embeddings"], found.embeddings)
    assert taken["gallery"]["ids"].tolist() == found.ids.tolist()
    assert taken["gallery"]["vote_k"] == 3 and taken["samples"] is None
    with pytest.raises(ValueError, match="`split` and `limit` go with images"):
        publishing.publish(run_dir, tmp_path / "b", tmp_path / output, limit=3)
    with pytest.raises(ValueError, match="must be of the encoder that is published"):
        publishing.publish("small_conv", tmp_path / "b", tmp_path / output, **SMALL)


def test_the_resize_of_embeddings_is_that_of_the_export(
    run_dir, published, exports, tmp_path
):
    lone = shutil.copy(run_dir / "model.keras", tmp_path / "lone.keras")
    embed_source(lone, published.source, tmp_path / "rows", resize="pad", limit=4)
    publishing.publish(lone, tmp_path / "base", tmp_path / "rows", report=None)
    publishing.publish(lone, tmp_path / "base", published.source, limit=4, report=None)
    assert [taken["resize"] for taken in exports] == ["pad", "squash"]


def test_rows_of_pictures_resized_otherwise_do_not_come_into_a_gallery(
    published, tmp_path
):
    """A backbone's are cropped where nobody says otherwise."""
    assert card(published.version)["encoder"]["resize"] == "crop"
    for_clients = published.version / "assets.extra" / "tfembed.json"
    assert json.loads(for_clients.read_text("utf-8"))["resize"] == "crop"
    assert "cut around the middle" in (published.version / "README.md").read_text()
    rows = tmp_path / "rows"
    encoder = open_encoder(NAME, published.weights, image_size=SIDE, resize="squash")
    embed_source(encoder, published.source, rows, limit=2)
    with pytest.raises(ValueError, match="as this model does, 'crop'.*: 'squash'"):
        update_gallery(published.base, add=rows, report=None)


def test_a_flat_folder_has_no_labels(run_dir, exports, tmp_path):
    write_photos(tmp_path / "flat", flat=True, count=7)
    lines = []
    publishing.publish(
        run_dir, tmp_path / "base", f"folder:{tmp_path}/flat", report=lines.append
    )
    (taken,) = exports
    assert taken["gallery"]["labels"].tolist() == [-1] * 7
    assert taken["gallery"]["ids"][0] == "photo 00.jpg"
    assert not any("find their class" in line for line in lines)
    gallery = make_gallery(taken["gallery"])
    chosen = choose_threshold(gallery)
    scores = gallery.embeddings @ gallery.embeddings.T
    np.fill_diagonal(scores, -1)
    assert chosen.value == pytest.approx(np.quantile(scores.max(axis=1), 0.05))


def test_an_untrained_backbone_says_so_and_is_the_same_each_time(
    published, exports, tmp_path
):
    lines = []
    for _ in range(2):
        publishing.publish(
            "small_conv",
            tmp_path / "base",
            published.source,
            report=lines.append,
            **SMALL,
        )
    first, second = (taken["gallery"]["embeddings"] for taken in exports)
    np.testing.assert_array_equal(first, second)
    assert any("an untrained network's" in line for line in lines)
    method = exports[0]["facts"]["method"]
    assert method["weights"] == "none: not trained" and exports[0]["normalize"]


def test_a_limit_takes_the_same_images_each_time(run_dir, published, exports, tmp_path):
    for _ in range(2):
        publishing.publish(
            run_dir, tmp_path / "base", published.source, limit=9, report=None
        )
    first, second = (taken["gallery"]["ids"].tolist() for taken in exports)
    assert first == second == sorted(first) and len(first) in (8, 9)  # one is broken
    assert len({each.partition("/")[0] for each in first}) == 3


def test_rows_of_nothing_are_left_out(published, exports, tmp_path):
    """A network of rectified sums gives a black picture no direction."""
    image = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(image)
    keras.Model(image, features).save(tmp_path / "mean.keras")
    shutil.copytree(published.photos / "red", tmp_path / "photos")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "photos" / "0.png")
    names = sorted(each.name for each in (tmp_path / "photos").iterdir())
    rows = ["path,price", *(f"{name},{number}" for number, name in enumerate(names))]
    (tmp_path / "photos" / "list.csv").write_text("\n".join(rows))
    lines, source = [], f"csv:{tmp_path}/photos/list.csv"
    publishing.publish(
        tmp_path / "mean.keras", tmp_path / "base", source, report=lines.append
    )
    assert "left out 0.png: its embedding is zero" in lines
    gallery = exports[0]["gallery"]
    assert "0.png" not in gallery["ids"] and len(gallery["ids"]) > 3
    # What the list says of the others stays theirs.
    prices = [str(names.index(each)) for each in gallery["ids"]]
    assert gallery["metadata"]["price"].tolist() == prices


@pytest.fixture
def embedded(monkeypatch):
    """How many images were embedded since; raises at those after `allowed`."""
    counts, call = {"images": 0, "allowed": np.inf}, Encoder.__call__

    def counted(self, images):
        if counts["images"] >= counts["allowed"]:
            raise KeyboardInterrupt
        counts["images"] += len(images)
        return call(self, images)

    monkeypatch.setattr(Encoder, "__call__", counted)
    return counts


def test_started_again_it_goes_on(run_dir, published, exports, embedded, tmp_path):
    base, lines = tmp_path / "base", []

    def job(source=published.source):
        publishing.publish(run_dir, base, source, batch_size=2, report=lines.append)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "_SHARD_SIZE", 5)
        embedded["allowed"] = 14
        with pytest.raises(KeyboardInterrupt):
            job()
        assert os.listdir(base) == [".tfembed-embeddings"]
        embedded.update(images=0, allowed=np.inf)
        job()
        assert embedded["images"] == COUNT - 10
        assert "going on after 10 of 25 images" in lines
        assert os.listdir(base) == []
        whole = exports[-1]["gallery"]
        # Of other images nothing is taken over.
        embedded["allowed"] = embedded["images"] + 10
        with pytest.raises(KeyboardInterrupt):
            job()
        shutil.copytree(published.photos / "red", tmp_path / "other")
        embedded.update(images=0, allowed=np.inf)
        job(f"folder:{tmp_path}/other")
        assert embedded["images"] == COUNT // 3
        assert len(exports[-1]["gallery"]["ids"]) == COUNT // 3
    embedded["images"] = 0
    job()  # at one go
    assert embedded["images"] == COUNT
    again = exports[-1]["gallery"]
    np.testing.assert_allclose(again["embeddings"], whole["embeddings"], atol=1e-6)
    assert again["ids"].tolist() == whole["ids"].tolist()
    assert again["labels"].tolist() == whole["labels"].tolist()


def test_a_failed_export_keeps_the_embeddings(
    run_dir, published, embedded, tmp_path, monkeypatch
):
    def fails(*arguments, **options):
        raise RuntimeError("The new version does not answer as it should.")

    monkeypatch.setattr(exporting, "export", fails)
    with pytest.raises(RuntimeError):
        publishing.publish(run_dir, tmp_path / "base", published.source, report=None)
    assert os.listdir(tmp_path / "base") == [".tfembed-embeddings"]
    monkeypatch.setattr(exporting, "export", lambda *_, **__: None)
    embedded["images"], lines = 0, []
    publishing.publish(
        run_dir, tmp_path / "base", published.source, report=lines.append
    )
    assert "all images were embedded before" in lines
    assert embedded["images"] == 0 and os.listdir(tmp_path / "base") == []


def test_a_full_disk_is_a_sentence_and_the_same_command_goes_on(
    run_dir, published, exports, tmp_path, capsys
):
    """The limit on a file's size stands for the disk."""
    arguments = [str(run_dir), str(tmp_path / "base"), "--gallery", published.source]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # a manifest, and no shard
    try:
        assert publishing.main(arguments) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    said = capsys.readouterr().err
    assert "There is no room for 'part-00000.npz'" in said and "start again" in said
    assert not exports
    assert publishing.main(arguments) == 0
    assert len(exports[0]["gallery"]["ids"]) == COUNT


BAD = {
    "no such encoder": (["no-such", "B", "--gallery", "folder:P"], "'no-such', which"),
    "a misspelt backbone": (
        ["torchvision:mobilenetv2", "B", "--gallery", "folder:P", "--weights", "none"],
        "torchvision:mobilenet_v2, torchvision:resnet18",
    ),
    "no weights said": (
        [NAME, "B", "--gallery", "folder:P"],
        "Received: nothing. Give --weights",
    ),
    "weights that are not there": (
        [NAME, "B", "--gallery", "folder:P", "--weights", "none.pth"],
        "weights='none.pth', which is not a file",
    ),
    "weights that it does not take": (
        ["small_conv", "B", "--gallery", "folder:P", "--weights", "imagenet"],
        "`weights` go with the backbones",
    ),
    "torchvision has no imagenet": (
        [NAME, "B", "--gallery", "folder:P", "--weights", "imagenet"],
        "a file that PyTorch or safetensors wrote",
    ),
    "weights of a run": (
        ["RUN", "B", "--gallery", "folder:P", "--weights", "none"],
        "which brings its own",
    ),
    "a folder without its word": (["RUN", "B", "--gallery", "P"], "write folder:"),
    "no folder": (["RUN", "B", "--gallery", "folder:Q"], "which is not a folder"),
    "an empty folder": (["RUN", "B", "--gallery", "folder:E"], "there are none"),
    "one image": (["RUN", "B", "--gallery", "folder:1"], "1 of 'folder:"),
    "an unknown source": (["RUN", "B", "--gallery", "flickr"], "folder:PATH"),
    "a base that is a file": (["RUN", "F", "--gallery", "folder:P"], "is a file"),
    "a base below a file": (["RUN", "F/b", "--gallery", "folder:P"], "is a file"),
    "no neighbours": (["RUN", "B", "--gallery", "folder:P", "--k", "0"], "`k` must be"),
    "no voters": (
        ["RUN", "B", "--gallery", "folder:P", "--vote-k", "0"],
        "`vote_k` must be",
    ),
    "a share above 1": (
        ["RUN", "B", "--gallery", "folder:P", "--false-rejection", "2"],
        "`false_rejection` must be a number of at least 0 and below 1: the share",
    ),
    "another size": (
        ["RUN", "B", "--gallery", "folder:P", "--image-size", "9"],
        "`image_size` and `channels` must be what `model` takes",
    ),
    "no limit": (["RUN", "B", "--gallery", "folder:P", "--limit", "0"], "`limit` must"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_sentence_before_anything_is_decoded(
    name, run_dir, published, tmp_path, monkeypatch, capsys
):
    arguments, words = BAD[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "E").mkdir()
    (tmp_path / "1").mkdir()
    (tmp_path / "F").write_text("a file")
    (tmp_path / "P").symlink_to(published.photos)
    Image.new("RGB", (9, 9)).save(tmp_path / "1" / "a.png")
    (tmp_path / "RUN").symlink_to(run_dir)
    before = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(Encoder, "__call__", None)
    assert publishing.main(arguments) == 1
    said = capsys.readouterr().err
    assert words in said and said.startswith("error: ")
    assert len(said.strip().splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_base_that_may_not_be_written_is_said_first(run_dir, published, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="a folder that this user may write to"):
        publishing.publish(run_dir, tmp_path / "base", published.source)
    tmp_path.chmod(0o700)


def test_the_command_says_what_to_do_next(
    run_dir, published, exports, tmp_path, capsys
):
    base = tmp_path / "base"
    assert (
        publishing.main([str(run_dir), str(base), "--gallery", published.source]) == 0
    )
    said = capsys.readouterr().out
    assert f"python -m tfembed.serving {base} --images {published.photos}" in said
    assert "left out red/broken.jpg" in said
    flags = ["--gallery", published.source, "--no-next-steps"]
    assert publishing.main([str(run_dir), str(base), *flags]) == 0
    said = capsys.readouterr().out
    assert "left out red/broken.jpg" in said and "tfembed.serving" not in said


def test_embed_takes_a_backbone_and_a_limit_too(published, rows, tmp_path, capsys):
    from tfembed import embed

    arguments = [NAME, published.source, str(tmp_path / "out"), *published.flags]
    assert embed.main(arguments) == 0
    found = read_embeddings(tmp_path / "out").load()
    np.testing.assert_allclose(found.embeddings, rows[1].embeddings, atol=1e-5)
    assert (
        embed.main([*arguments[:2], str(tmp_path / "9"), *published.flags, *LIMIT]) == 0
    )
    some = read_embeddings(tmp_path / "9").load()
    assert set(some.ids) < set(found.ids) and len(some.ids) in (8, 9)
    assert embed.main([NAME, published.source, str(tmp_path / "none")]) == 1
    assert "Give --weights" in capsys.readouterr().err


LIMIT = ["--limit", "9"]
