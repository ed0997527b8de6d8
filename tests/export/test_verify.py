"""The check before publishing notices each thing that can be wrong."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.export import verify
from tfembed.export.encoder import ExportedEncoder
from tfembed.export.run_directory import read_gallery
from tfembed.export.verify import check_answers


@pytest.fixture(scope="module")
def answers():
    """What was answered, so that the process starts once."""
    return {}


@pytest.fixture
def check(exported, answers, monkeypatch):
    """Checks the export against what it is said to be made of."""
    ask = verify.ask_in_fresh_process

    def ask_once(folder, requests, runtime):
        if runtime not in answers:
            answers[runtime] = ask(folder, requests, runtime)
        return answers[runtime]

    monkeypatch.setattr(verify, "ask_in_fresh_process", ask_once)
    gallery = read_gallery(exported.run_dir / "gallery.npz")

    def check(k=7, encoder=exported.encoder, head="exact", **changes):
        images = [path.read_bytes() for path in sorted(exported.run_dir.glob("q*/*"))]
        said = dataclasses.replace(gallery, **changes)
        if not isinstance(encoder, ExportedEncoder):
            encoder = ExportedEncoder(encoder)
        return check_answers(exported.path, encoder, said, head, k, images)

    check.gallery = gallery
    return check


def test_a_good_export_passes(check):
    worst = check()
    assert worst["embeddings_within"] <= 1e-5 and worst["scores_within"] <= 1e-5
    assert worst["runtimes"] == ["TensorFlow's C API", "tf.saved_model.load"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: {"embeddings": np.roll(g.embeddings, 1, 0)}, "not have the scores"),
        (lambda g: {"embeddings": -g.embeddings}, "scores differ"),
        (lambda g: {"embeddings": g.embeddings * 1.001}, "scores differ"),
        (lambda g: {"ids": np.roll(g.ids, 1)}, "not have the scores"),
        (lambda g: {"ids": np.char.add(g.ids, "x")}, "are not rows of the gallery"),
        (lambda g: {"labels": np.roll(g.labels, 1)}, "have the labels"),
        (lambda g: {"class_names": g.class_names[[0, 2, 1]]}, "have the labels"),
        (lambda g: {"known_threshold": 2.0}, "is known=True"),
        (lambda g: {"vote_k": 4}, "it votes"),
        (lambda g: {"vote_temperature": 1.0}, "it votes"),
    ],
)
def test_another_gallery_does_not(check, change, message):
    with pytest.raises(RuntimeError, match=message):
        check(**change(check.gallery))


@pytest.mark.parametrize(
    ("signature", "output", "message"),
    [
        ("score_lines", "lines", "score_lines gives"),
        ("search_filtered_lines", "ids", "finds 0 neighbours where"),
        ("search_filtered_lines", "valid", "a broken image"),
        ("search_filtered_bytes_lines", "scores", "scores differ|a broken image"),
        ("query", "scores", "query gives the scores|a broken image|it finds the sc"),
        ("query", "problem", "query says"),
    ],
)
def test_other_answers_do_not(check, monkeypatch, signature, output, message):
    ask = verify.ask_in_fresh_process

    def roll(folder, requests, runtime):
        found, described = ask(folder, requests, runtime)
        names = [name for name, _ in requests]
        found = [
            {**each, output: np.roll(each[output], 1, 0)} if name == signature else each
            for name, each in zip(names, found)
        ]
        return found, described

    monkeypatch.setattr(verify, "ask_in_fresh_process", roll)
    with pytest.raises(RuntimeError, match=message):
        check()


def test_another_k_does_not(check):
    for k in (6, 8):
        with pytest.raises(RuntimeError, match=f"7 neighbours, not {k}"):
            check(k=k)


def test_another_encoder_does_not(check, make_encoder):
    keras.utils.set_random_seed(1)
    with pytest.raises(RuntimeError, match="embeddings differ from the enc") as error:
        check(encoder=make_encoder())
    assert str(error.value).endswith("Asked was `embed` of images (5, 12, 10, 1).")


def test_an_encoder_without_unit_norm_does_not(check, exported, monkeypatch):
    encoder = ExportedEncoder(exported.encoder)
    embed = encoder.embed
    monkeypatch.setattr(encoder, "embed", lambda images: 2 * embed(images))
    with pytest.raises(RuntimeError, match="embeddings of length 2, not 1"):
        check(encoder=encoder)


@pytest.mark.parametrize("runtime", ["native", "python"])
def test_what_does_not_load_is_said(tmp_path, runtime):
    said = r"does not run in a process.*Asked was loading it\. It says: \w+"
    with pytest.raises(RuntimeError, match=said):
        verify.ask_in_fresh_process(tmp_path, [], runtime)


def test_what_fails_is_named_with_the_whole_message(tmp_path):
    """A message of several lines, of which the last is not the telling one."""
    images = tf.TensorSpec([None, 2], tf.float32, "images")

    @tf.function(input_signature=[images])
    def embed(images):
        few = tf.debugging.Assert(
            tf.shape(images)[0] < 2, ["too many", tf.shape(images)]
        )
        with tf.control_dependencies([few]):
            return {"embeddings": images + 1}

    module = tf.Module()
    module.embed = embed
    tf.saved_model.save(module, tmp_path, {"embed": embed})
    for runtime in ("native", "python"):
        requests = [("embed", {"images": np.zeros((n, 2), np.float32)}) for n in (1, 3)]
        with pytest.raises(RuntimeError) as error:
            verify.ask_in_fresh_process(tmp_path, requests, runtime)
        told = str(error.value)
        assert "Asked was `embed` of images (3, 2). It says: " in told
        assert "too many" in told and "[3 2]" in told and "{{node Assert" in told
