"""How pictures are resized can be said wherever their size can, and is kept."""

import contextlib
import importlib
import inspect
import json
import pkgutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from test_command_lines import flags, parsers

import tfembed
from tfembed.backbones import Encoder, open_encoder
from tfembed.data import load_images, read_embeddings
from tfembed.dedup import __main__ as dedup
from tfembed.dedup import dedup_source
from tfembed.embed import embed_source
from tfembed.evaluate.subject import find_subject
from tfembed.export.encoder import ExportedEncoder
from tfembed.formats.run_config import run_resize
from tfembed.layers import UnitNorm
from tfembed.ops.images import decode_image
from tfembed.publish import publish

# What takes arrays, or makes networks and arrays of a size: nothing is resized there.
NETWORKS, ENCODERS = "tfembed.backbones.", ("Encoder", "open_encoder")
OF_ARRAYS = {
    "tfembed.data.augmentation.Augmentation",
    "tfembed.data.fast_augmentation.FastAugmentation",
    "tfembed.data.image_data.ImageData",
    "tfembed.data.split.Split",
    "tfembed.data.strengths.Strengths",
    "tfembed.export.expected_signatures.expected_signatures",
    "tfembed.export.samples.encode_samples",
    "tfembed.export.warmup.warmup_requests",
    "tfembed.recipes.instdisc.build",
    "tfembed.recipes.networks.build_encoder",
    "tfembed.recipes.own_parts.find_augmentation",
}
SHAPE = (4, 4, 3)


def public():
    """Yields the name and the signature of every public function and class."""
    for module in pkgutil.walk_packages(tfembed.__path__, "tfembed."):
        if module.name.endswith("__main__"):
            continue
        with contextlib.suppress(ImportError):  # of an optional package
            found = importlib.import_module(module.name)
            own = [
                name
                for name, symbol in vars(found).items()
                if getattr(symbol, "__module__", None) == module.name
            ]
            for name in getattr(found, "__all__", own):
                symbol = getattr(found, name)
                plain = inspect.isclass(symbol) and not issubclass(symbol, Exception)
                if not name.startswith("_") and (inspect.isfunction(symbol) or plain):
                    where = f"{symbol.__module__}.{symbol.__qualname__}"
                    with contextlib.suppress(ValueError):  # of a class of C
                        yield where, inspect.signature(symbol).parameters


def test_every_command_that_takes_a_size_takes_how_to_resize():
    found = []
    for command, before, parser in parsers():
        if {"--image-size", "--image-shape"} & set(flags(parser)):
            (action,) = (
                each for each in parser._actions if "--resize" in each.option_strings
            )
            assert tuple(action.choices) == ("squash", "crop", "pad"), command
            found.append(" ".join([command, *before]))
    assert {"tfembed.publish", "tfembed.recipes.isl", "tfembed.dedup"} <= set(found)


def test_everything_public_that_takes_a_size_takes_how_to_resize():
    sized = {
        name: set(parameters)
        for name, parameters in public()
        if {"image_size", "image_shape"} & set(parameters)
    }
    without = {name for name, names in sized.items() if "resize" not in names}
    without -= {
        name
        for name in without
        if name.startswith(NETWORKS) and not name.endswith(ENCODERS)
    }
    assert without == OF_ARRAYS
    assert len(sized) > len(OF_ARRAYS) + 12


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures of several sizes, and an encoder whose embeddings are their pixels."""
    folder = tmp_path_factory.mktemp("resize")
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.integers(0, 256, (5 + number, 9, 3), np.uint8)
        path = folder / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(pixels).numpy())
    pixels = [keras.Input(SHAPE), keras.layers.Flatten(), UnitNorm()]
    keras.Sequential(pixels).save(folder / "lone.keras")
    return folder


@pytest.fixture
def run(place, tmp_path):
    """A run whose pictures were cropped: its encoder, and its config."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.keras").write_bytes((place / "lone.keras").read_bytes())
    write_config(folder, recipe="supervised", resize="crop")
    return folder


def write_config(folder, **config):
    (folder / "config.json").write_text(json.dumps(config))


def photos(place):
    return f"folder:{place / 'photos'}"


def expected(place, resize):
    """Id to embedding."""
    root, found = place / "photos", {}
    for path in sorted(root.rglob("*.png")):
        pixels = decode_image(path.read_bytes(), SHAPE, resize=resize).numpy().ravel()
        name = path.relative_to(root).as_posix()
        found[name] = pixels / np.linalg.norm(pixels.astype(np.float64))
    return found


def check(place, ids, embeddings, resize):
    right = expected(place, resize)
    assert sorted(ids) == sorted(right)
    for name, embedding in zip(ids, np.asarray(embeddings, np.float64)):
        np.testing.assert_allclose(embedding, right[name], atol=1e-6, err_msg=name)


def test_a_run_says_how(run):
    assert run_resize(run) == run_resize(run / "model.keras") == "crop"
    assert run_resize(run / "other.keras") is None
    write_config(run, recipe="supervised")  # of before there was a choice
    assert run_resize(run) == "squash"
    write_config(run, architectures=["another library's"])
    assert run_resize(run) is None
    write_config(run, recipe="supervised", resize="stretch")
    with pytest.raises(ValueError, match="Received: 'stretch'. Use the version"):
        run_resize(run)


@pytest.mark.parametrize("kind", [Encoder, ExportedEncoder, open_encoder])
def test_an_encoder_is_as_its_run_was(kind, run, place):
    model = str(run / "model.keras")
    assert kind(model).resize == kind(model, resize="crop").resize == "crop"
    with pytest.raises(ValueError, match="`resize` must be that of .*'crop'"):
        kind(model, resize="pad")
    assert kind(str(place / "lone.keras"), resize="pad").resize == "pad"
    with pytest.raises(ValueError, match="`resize` must be one of 'squash', "):
        kind(model, resize="stretch")


def test_a_backbone_is_cropped_unless_told_otherwise():
    options = {"weights": "none", "image_size": 8}
    assert open_encoder("small_conv", **options).resize == "crop"
    assert open_encoder("small_conv", **options, resize="pad").resize == "pad"


def test_embed_sees_pictures_as_the_encoder_does(run, place, tmp_path):
    for model, options, resize in (
        (run, {}, "crop"),
        (place / "lone.keras", {}, "squash"),
        (place / "lone.keras", {"resize": "pad"}, "pad"),
    ):
        output = tmp_path / f"{resize}.npz"
        files = embed_source(model, photos(place), output, **options)
        found = files.load()
        check(place, found.ids, found.embeddings, resize)
        assert files.manifest["identity"]["resize"] == resize
        assert read_embeddings(output).resize == resize
    with pytest.raises(ValueError, match="resize 'pad' there, 'crop' here"):
        embed_source(model, photos(place), tmp_path / "pad.npz", resize="crop")
    with pytest.raises(ValueError, match="must be that of the encoder, 'crop'"):
        embed_source(Encoder(run), photos(place), tmp_path / "no", resize="pad")


def test_what_was_loaded_cropped_is_embedded_cropped(place, tmp_path):
    data = load_images(photos(place), image_size=SHAPE[:2], resize="crop", limit=None)
    model = tfembed.load_model(place / "lone.keras", compile=False)
    files = embed_source(model, data.train, tmp_path / "out")
    right, found = expected(place, "crop"), files.load()
    assert len(found.ids) == data.train.size > 3
    assert data.train.take(np.arange(2)).resize == "crop"
    for name, embedding in zip(found.ids, found.embeddings):
        np.testing.assert_allclose(embedding, right[name], atol=1e-6)


def test_embeddings_of_before_there_was_a_choice_are_squashed(place, tmp_path):
    lone, out = place / "lone.keras", tmp_path / "out"
    embed_source(lone, photos(place), out)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["identity"]["resize"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert read_embeddings(out).resize == "squash"
    embed_source(lone, photos(place), out)
    with pytest.raises(ValueError, match="resize 'squash' there, 'crop' here"):
        embed_source(lone, photos(place), out, resize="crop")


@pytest.mark.parametrize("split", ["whole", "seen"])
def test_what_is_measured_is_as_the_run_was(split, run, place):
    found = find_subject(run, dataset=photos(place), split=split)
    rows = [found.queries] + ([found.gallery] if found.gallery else [])
    ids = np.concatenate([each.ids for each in rows])
    check(place, ids, np.concatenate([each.embeddings for each in rows]), "crop")
    with pytest.raises(ValueError, match="'crop'.*Received: resize='squash'"):
        find_subject(run, dataset=photos(place), resize="squash")


def test_a_near_duplicate_is_asked_for_as_the_gallery_was_made(place, tmp_path, capsys):
    lone, out = str(place / "lone.keras"), tmp_path / "out"
    name = "b/7.png"  # the one that is changed most
    asked = ["--ask", str(place / "photos" / name), "--threshold", "0.99999"]
    dedup_source(photos(place), out, lone, 0.9, resize="crop")
    for source in (out, out / "embeddings"):
        assert dedup.main([str(source), *asked]) == 0
        assert name in capsys.readouterr().out
    assert dedup.main([str(out), *asked, "--resize", "pad"]) == 2
    assert "must be that of the gallery, 'crop'" in capsys.readouterr().err
    summary = json.loads((out / "dedup.json").read_text())
    assert summary["encoder"].pop("resize") == "crop"
    (out / "dedup.json").write_text(json.dumps(summary))  # of before there was a choice
    assert dedup.main([str(out), *asked]) == 1


def test_embeddings_of_pictures_resized_otherwise_are_not_published(
    run, place, tmp_path
):
    rows = str(tmp_path / "rows")
    embed_source(place / "lone.keras", photos(place), rows, resize="pad")
    for encoder, options in (
        (run, {}),
        (place / "lone.keras", {"resize": "squash"}),
    ):
        with pytest.raises(ValueError, match="Received: .*rows', 'pad'. Embed"):
            publish(encoder, tmp_path / "base", rows, report=None, **options)
    assert not (tmp_path / "base").exists()
