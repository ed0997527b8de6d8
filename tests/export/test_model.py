"""An export as a server meets it: loaded without tfembed, and without Python."""

import json

import numpy as np
import pytest
import tensorflow as tf
from shared import table_of
from tensorflow import keras

from tfembed.export import (
    export,
    export_model,
    read_served_gallery,
    update_gallery,
)
from tfembed.export.encoder import ExportedEncoder
from tfembed.export.fresh_process import ask_in_fresh_process
from tfembed.export.gallery_state import SHARED, gallery_sha256
from tfembed.export.run_directory import read_gallery

SIGNATURES = 14
SEARCH = {"ids", "labels", "scores", "vote", "vote_probability", "known", "valid"}
BATCHES = (0, 1, 3, 17)


def requests_of(exported):
    requests = []
    for batch in BATCHES:
        images = exported.images[:batch]
        pixels = images.astype(np.float32)
        requests.append(("embed", {"images": pixels}))
        requests.append(("search_images", {"images": pixels}))
        requests.append(("embed_bytes", {"image_bytes": exported.png(images)}))
        requests.append(("search_bytes", {"image_bytes": exported.png(images)}))
        requests.append(("serving_default", {"image_bytes": exported.png(images)}))
        embeddings = exported.embeddings(images)
        requests.append(("search", {"embeddings": 3 * embeddings}))
    mixed = exported.png(exported.images[:3])
    mixed[1] = mixed[1][:-20]
    requests.append(("search_bytes", {"image_bytes": mixed}))
    return requests


@pytest.fixture(scope="module")
def asked(exported):
    """Requests, and the answers of the C API and of Python's TensorFlow."""
    requests = requests_of(exported)
    by_native, signatures = ask_in_fresh_process(exported.path, requests, "native")
    by_python, described = ask_in_fresh_process(exported.path, requests)
    return requests, by_native, by_python, signatures, described


def assert_neighbours(answer, queries, gallery, k):
    """Scores to 1e-5 of float64, equal rows in the gallery's order."""
    scores = queries.astype(np.float64) @ gallery.embeddings.T.astype(np.float64)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, 1)
    np.testing.assert_allclose(answer["scores"], best, atol=1e-5)
    row_of = {name: row for row, name in enumerate(gallery.ids.tolist())}
    names = np.array(["", *gallery.class_names])
    for query, ids in enumerate(answer["ids"]):
        rows = np.array([row_of[name.decode()] for name in ids])
        assert len(set(rows)) == k
        np.testing.assert_allclose(scores[query, rows], best[query], atol=1e-5)
        # The gallery holds each row twice, so every answer has ties in it.
        equal = np.diff(answer["scores"][query]) == 0
        assert equal.sum() >= k // 2
        assert (np.diff(rows)[equal] > 0).all()
        labels = [name.decode() for name in answer["labels"][query]]
        assert labels == names[gallery.labels[rows] + 1].tolist()
    known = answer["scores"][:, 0] >= gallery.known_threshold
    np.testing.assert_array_equal(answer["known"], known)


def assert_votes(answer, queries, gallery):
    scores = queries.astype(np.float64) @ gallery.embeddings.T.astype(np.float64)
    for query, row_scores in enumerate(scores):
        rows = np.argsort(-row_scores, kind="stable")[: gallery.vote_k]
        votes = {name: 0.0 for name in gallery.class_names.tolist()}
        for row in rows:
            if gallery.labels[row] >= 0:
                name = str(gallery.class_names[gallery.labels[row]])
                votes[name] += np.exp(row_scores[row] / gallery.vote_temperature)
        total = sum(votes.values())
        vote = answer["vote"][query].decode()
        # Twins at the end of the voters may swap: a weight of 1 / vote_k, about.
        assert votes[vote] / total == pytest.approx(
            max(votes.values()) / total, abs=0.1
        )
        assert answer["vote_probability"][query] == pytest.approx(
            votes[vote] / total, abs=0.1
        )


@pytest.mark.parametrize("runtime", ["native", "python"])
def test_answers_are_those_of_the_encoder_and_brute_force(exported, asked, runtime):
    requests, by_native, by_python, _, _ = asked
    answers = by_native if runtime == "native" else by_python
    gallery = read_gallery(exported.run_dir / "gallery.npz")
    assert len(answers) == len(requests) == 6 * len(BATCHES) + 1
    for (signature, inputs), answer in list(zip(requests, answers))[:-1]:
        batch = len(next(iter(inputs.values())))
        assert all(len(value) == batch for value in answer.values())
        assert answer["valid"].dtype == bool and answer["valid"].all()
        queries = exported.embeddings(exported.images[:batch])
        if signature.startswith("embed"):
            assert set(answer) == {"embeddings", "valid"}
            assert answer["embeddings"].dtype == np.float32
            np.testing.assert_allclose(answer["embeddings"], queries, atol=1e-5)
        else:
            assert set(answer) == SEARCH
            assert answer["ids"].shape == answer["labels"].shape == (batch, 7)
            assert answer["vote_probability"].dtype == np.float32
            assert_neighbours(answer, queries, gallery, 7)
            assert_votes(answer, queries, gallery)
    assert {bool(value) for value in answers[-3]["known"]} <= {True, False}


def test_both_runtimes_agree(asked):
    requests, by_native, by_python, _, _ = asked
    for one, other in zip(by_native, by_python):
        for name, value in one.items():
            if value.dtype == np.float32:
                np.testing.assert_allclose(value, other[name], atol=1e-6)
            else:
                np.testing.assert_array_equal(value, other[name])


@pytest.mark.parametrize("runtime", ["native", "python"])
def test_a_broken_image_harms_no_other(asked, runtime):
    _, by_native, by_python, _, _ = asked
    answers = by_native if runtime == "native" else by_python
    whole, mixed = answers[15], answers[-1]  # search_bytes of the same three images
    assert mixed["valid"].tolist() == [True, False, True]
    assert mixed["ids"][1].tolist() == mixed["labels"][1].tolist() == [b""] * 7
    assert not mixed["scores"][1].any() and not mixed["known"][1]
    assert mixed["vote"][1] == b"" and mixed["vote_probability"][1] == 0
    for name in SEARCH - {"scores", "vote_probability"}:
        np.testing.assert_array_equal(mixed[name][[0, 2]], whole[name][[0, 2]])
    np.testing.assert_allclose(
        mixed["scores"][[0, 2]], whole["scores"][[0, 2]], atol=1e-6
    )


def test_signatures_are_pinned(asked):
    _, _, _, signatures, described = asked
    images = {"images": ("float32", [None, 12, 10, 1])}
    image_bytes = {"image_bytes": ("string", [None])}
    strings, floats, flags = (
        {"ids", "labels", "vote"},
        {"scores", "vote_probability"},
        {"known", "valid"},
    )
    search = {
        **dict.fromkeys(strings, "string"),
        **dict.fromkeys(floats, "float32"),
        **dict.fromkeys(flags, "bool"),
    }
    embed = {"embeddings": "float32", "valid": "bool"}
    embeddings = {"embeddings": ("float32", [None, 16])}
    lists = ("string", [None, None])
    names = ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels")
    filters = dict.fromkeys(names, lists)
    lines = dict.fromkeys(names, ("string", [None]))
    examples = ("positive_ids", "negative_ids")
    examples += ("positive_embeddings", "negative_embeddings")
    classes = {"classes": "string", "scores": "float32"}
    assert described == {
        "embed": {"inputs": images, "outputs": embed},
        "embed_bytes": {"inputs": image_bytes, "outputs": embed},
        "search": {"inputs": embeddings, "outputs": search},
        "search_images": {"inputs": images, "outputs": search},
        "search_bytes": {"inputs": image_bytes, "outputs": search},
        "serving_default": {"inputs": image_bytes, "outputs": search},
        "search_filtered": {"inputs": {**embeddings, **filters}, "outputs": search},
        "search_filtered_bytes": {
            "inputs": {**image_bytes, **filters},
            "outputs": search,
        },
        "score": {
            "inputs": {**embeddings, "ids": lists},
            "outputs": {"scores": "float32", "found": "bool"},
        },
        "search_filtered_lines": {
            "inputs": {**embeddings, **lines},
            "outputs": search,
        },
        "search_filtered_bytes_lines": {
            "inputs": {**image_bytes, **lines},
            "outputs": search,
        },
        "score_lines": {
            "inputs": {**embeddings, "ids": ("string", [None])},
            "outputs": {"lines": "string", "valid": "bool"},
        },
        "query": {
            "inputs": {
                **image_bytes,
                **embeddings,
                **dict.fromkeys(examples, ("string", [None])),
                "negative_weight": ("float32", [None]),
                "min_score": ("float32", [None]),
                "per_label": ("int32", [None]),
                **lines,
            },
            "outputs": {**search, "problem": "string"},
        },
        "classify": {"inputs": {"inputs": ("string", [None])}, "outputs": classes},
    }
    assert set(signatures) == set(described)
    page = table_of("docs/architecture.md", "**Signatures.**")
    assert {name.strip("`") for row in page for name in row[0].split(", ")} == set(
        described
    )
    for name, (inputs, outputs) in signatures.items():
        assert set(inputs) == set(described[name]["inputs"])
        assert set(outputs) == set(described[name]["outputs"])


def test_gallery_variables_have_no_fixed_size(exported):
    shapes = dict(tf.train.list_variables(str(exported.path / "variables/variables")))
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    assert shapes["gallery_embeddings" + suffix] == [700, 16]
    wanted = {name + suffix for name in (*SHARED, "gallery_embeddings")}
    assert wanted < set(shapes)
    others = {name for name in shapes if "encoder_variables" not in name} - wanted
    assert others == {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((exported.path / "saved_model.pb").read_bytes())
    nodes = model.meta_graphs[0].object_graph_def.nodes
    sizes = {
        node.variable.name: [dim.size for dim in node.variable.shape.dim]
        for node in nodes
        if node.WhichOneof("kind") == "variable"
    }
    assert sizes["gallery_embeddings"] == [-1, 16]
    assert sizes["gallery_ids"] == sizes["gallery_labels"] == [-1]
    keras_objects = [
        node.user_object.identifier
        for node in nodes
        if "keras" in node.user_object.identifier
    ]
    assert not keras_objects


def test_warmup_has_every_signature_and_is_what_the_server_parses(exported):
    pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    found = set()
    path = exported.path / "assets.extra/tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(path)):
        log = pb2.PredictionLog.FromString(record.numpy())
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        arrays = {key: tf.make_ndarray(v) for key, v in request.inputs.items()}
        (size,) = {len(array) for array in arrays.values()}
        found.add((request.model_spec.signature_name, size))
        text = {v for a in arrays.values() if a.dtype == object for v in a.ravel()}
        assert not any(b"train/" in value for value in text)  # ids of the gallery
    model = tf.saved_model.load(str(exported.path))
    assert found == {(name, size) for name in model.signatures for size in (1, 8)}
    assert len(found) == 2 * SIGNATURES


def test_card_and_folder(exported):
    assert exported.path == exported.base / "1"
    names = sorted(path.name for path in exported.base.iterdir() if path.name[0] != ".")
    assert names == ["1"]
    assert (exported.path.stat().st_mode & 0o777) & 0o055 == 0o055  # others may read
    card = json.loads((exported.path / "assets.extra/tfembed.json").read_text("utf-8"))
    assert card["k"] == 7 and card["image_shape"] == [12, 10, 1]
    assert (card["dim"], card["gallery_size"], card["vote_k"]) == (16, 700, 20)
    assert card["class_names"] == ["boot", "bag", "Überzieher"]
    assert card["known_threshold"] == 0.5 and card["recipe"] == "instdisc"
    assert card["vote_temperature"] == pytest.approx(0.07)
    whole = json.loads((exported.path / "card.json").read_text("utf-8"))
    gallery = read_gallery(exported.run_dir / "gallery.npz")
    assert whole["gallery"]["sha256"] == gallery_sha256(gallery)
    assert whole["known"]["gallery_sha256"] == whole["gallery"]["sha256"]
    assert whole["known"]["threshold"] == 0.5 and whole["known"]["stale"] is False
    assert whole["encoder"]["sha256"] == ExportedEncoder(exported.encoder).sha256()
    assert whole["head"]["head"] == "exact" and whole["checks"]["images"] == 5
    assert whole["checks"]["warmup_requests"] == 2 * SIGNATURES
    page = (exported.path / "README.md").read_text("utf-8")
    for value in ("700", "Überzieher", "0.5", whole["gallery"]["sha256"], "instdisc"):
        assert value in page
    assert "{" not in page  # tables, not JSON
    assert exported.lines[-1].startswith("published version 1")
    assert all(line.endswith(" s)") for line in exported.lines)


def no_check(*args):
    return {
        "embeddings_within": 0.0,
        "scores_within": 0.0,
        "images": 1,
        "runtimes": [],
        "warmup_requests": 0,
    }


def test_k_is_cut_to_the_gallery(make_run, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("tfembed.export.model.check_answers", no_check)
    run_dir = make_run(encoder, size=4)
    lines = []
    path = export_model(run_dir, tmp_path / "base", k=10, report=lines.append)
    assert any("answers have 4 neighbours" in line for line in lines)
    assert json.loads((path / "assets.extra/tfembed.json").read_text())["k"] == 4


def test_normalize_alikeness_and_the_vote(tmp_path, monkeypatch):
    """Of an export and of its update: rows of any length, collapsed ones and others."""
    monkeypatch.setattr("tfembed.export.model.check_answers", no_check)
    rng, base, lines = np.random.default_rng(0), tmp_path / "base", []
    image = keras.Input((12, 10, 1))
    encoder = keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(image)))
    rows = rng.uniform(1, 9, (60, 1)) * (1 + 1e-5 * rng.normal(size=(60, 5)))
    names = np.array(["boot", "bag", ""])[np.arange(60) % 3]
    gallery = {"embeddings": rows, "labels": names, "ids": np.arange(60).astype(str)}
    options = {"normalize": True, "vote_k": 4, "warmup_batches": ()}
    path = export(encoder, gallery, base, report=lines.append, **options)
    card = json.loads((path / "card.json").read_text("utf-8"))
    assert card["vote"]["k"] == 4 and "nearly all alike" in card["warnings"][0]
    assert any(line.startswith("WARNING: The rows") for line in lines)
    assert "**Warning.** The rows of the gallery" in (path / "README.md").read_text()

    rows = rng.uniform(1e-3, 9, (30, 1)) * rng.normal(size=(30, 5))
    ids = [str(row) for row in range(40, 70)]
    np.savez(tmp_path / "new.npz", embeddings=0 * rows, ids=ids, labels=names[:30])
    with pytest.raises(ValueError, match="rows that are not zero"):
        update_gallery(base, replace_all=tmp_path / "new.npz", report=None)
    np.savez(tmp_path / "new.npz", embeddings=rows, ids=ids, labels=names[:30])
    path = update_gallery(
        base, replace_all=tmp_path / "new.npz", vote_k=2, report=lines.append
    )
    assert any("2 neighbours vote, in place of 4" in line for line in lines)
    assert update_gallery(base, vote_k=2, report=None) == path  # nothing to change
    served = read_served_gallery(path)
    assert (served.size, served.vote_k) == (30, 2)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(served.embeddings, rows, atol=1e-6)
    cosines = rows @ rows.T
    card = json.loads((path / "card.json").read_text("utf-8"))
    assert card["warnings"] == [] and card["vote"]["k"] == 2
    mean = cosines[~np.eye(30, dtype=bool)].mean()
    assert card["gallery"]["mean_cosine"] == pytest.approx(mean, abs=1e-6)
    search = tf.saved_model.load(str(path)).signatures["search"]
    answer = search(embeddings=tf.constant(served.embeddings[:9]))
    for query, order in enumerate(np.argsort(-cosines[:9], axis=1)[:, :2]):
        shares = np.zeros(len(served.class_names))
        for row in order[served.labels[order] >= 0]:
            weight = np.exp(cosines[query, row] / served.vote_temperature)
            shares[served.labels[row]] += weight
        share = shares.max() / max(shares.sum(), 1e-30)
        given = float(answer["vote_probability"][query])
        assert given == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3"])
def test_k_out_of_range(tmp_path, k):
    with pytest.raises(ValueError, match=r"`k` must be a positive integer. Received"):
        export_model(tmp_path, tmp_path / "base", k=k)
    assert not (tmp_path / "base").exists()


def model_of(kind):
    image = keras.Input((12, 10, 1))
    flat = keras.layers.Flatten()(image)
    if kind == "two inputs":
        ids = keras.Input((), dtype="int64")
        return keras.Model([image, ids], keras.layers.Dense(16)(flat))
    if kind == "no fixed size":
        image = keras.Input((None, None, 3))
        pooled = keras.layers.GlobalAveragePooling2D()(image)
        return keras.Model(image, keras.layers.Dense(16)(pooled))
    if kind == "two channels":
        image = keras.Input((12, 10, 2))
        return keras.Model(image, keras.layers.Dense(16)(keras.layers.Flatten()(image)))
    if kind == "vectors":
        image = keras.Input((12,))
        return keras.Model(image, keras.layers.Dense(16)(image))
    if kind == "two outputs":
        return keras.Model(image, [keras.layers.Dense(16)(flat), flat])
    if kind == "feature map":
        return keras.Model(image, keras.layers.ReLU()(image))
    return keras.Model(image, keras.layers.Dense(8)(flat))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("two inputs", "must have one input"),
        ("no fixed size", "Give image_shape="),
        ("two channels", "1 or 3 channels"),
        ("vectors", "must have one input"),
        ("another dim", r"embeddings \(batch, 16\).*outputs \(batch, 8\)"),
        ("two outputs", "must give one tensor of embeddings"),
        ("feature map", r"one tensor of embeddings.*shape \(1, 12, 10, 1\)"),
    ],
)
def test_models_that_cannot_be_served(make_run, encoder, tmp_path, kind, message):
    run_dir = make_run(encoder, size=20)
    model_of(kind).save(run_dir / "model.keras")
    with pytest.raises(ValueError, match=message):
        export_model(run_dir, tmp_path / "base", report=None)
    assert not (tmp_path / "base").exists()


def test_a_model_file_that_is_none(make_run, encoder, tmp_path):
    run_dir = make_run(encoder, size=20)
    (run_dir / "model.keras").write_bytes(b"no model")
    with pytest.raises(ValueError, match="model.keras must be a Keras model"):
        export_model(run_dir, tmp_path / "base", report=None)


def test_a_refused_op_leaves_nothing(make_run, encoder, tmp_path, monkeypatch):
    @tf.function
    def python_inside(images):
        return tf.numpy_function(lambda x: x, [images], tf.float32)

    from tfembed.export import search_model

    def decode(*args):
        images, valid = decode_images(*args)
        return tf.ensure_shape(python_inside(images), images.shape), valid

    decode_images = search_model.decode_images
    monkeypatch.setattr(search_model, "decode_images", decode)
    with pytest.raises(ValueError, match="Received: PyFunc at node"):
        export_model(make_run(encoder, size=20), tmp_path / "base", report=None)
    assert not (tmp_path / "base").exists()


def test_a_failed_check_leaves_nothing(make_run, encoder, tmp_path, monkeypatch):
    def disagree(*args):
        raise RuntimeError("does not answer")

    monkeypatch.setattr("tfembed.export.model.check_answers", disagree)
    with pytest.raises(RuntimeError, match="does not answer"):
        export_model(make_run(encoder, size=20), tmp_path / "base", report=None)
    assert not (tmp_path / "base").exists()


def test_a_disk_that_fills_up(make_run, encoder, tmp_path):
    resource = pytest.importorskip("resource")
    run_dir = make_run(encoder, size=20)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="`model_base` must have room"):
            export_model(run_dir, tmp_path / "base", report=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "base").exists()
