"""A new gallery under each head: what it keeps, what it makes anew."""

import numpy as np
import pytest
import tensorflow as tf
from small_versions import ROWS, a_gallery, card_of, save_rows, write_version

from tfembed.export import (
    export,
    gallery_update,
    read_served_gallery,
    update_gallery,
)
from tfembed.export.heads import HEADS, load_head, trait
from tfembed.export.saved_variables import read_variables


@pytest.fixture(params=sorted(HEADS))
def head(request):
    return request.param


@pytest.fixture
def base(head, tmp_path, monkeypatch):
    """One version under a head. Its signatures are not there to be asked."""
    monkeypatch.setattr(gallery_update, "check_gallery", lambda *args: 0.0)
    write_version(tmp_path / "base" / "1", head, a_gallery())
    return tmp_path / "base"


def kept(rows, head):
    """Rows as a head keeps them."""
    kept = trait(load_head(head), "kept")
    return rows if kept is None else kept(rows).astype(np.float32)


def test_rows_are_read_back_in_the_gallerys_order(base, head):
    gallery, read = a_gallery(), read_served_gallery(base)
    np.testing.assert_array_equal(read.embeddings, kept(gallery.embeddings, head))
    assert read.ids.tolist() == gallery.ids.tolist()
    assert read.labels.tolist() == gallery.labels.tolist()


def test_the_head_stays_and_is_made_of_the_new_rows(base, head, tmp_path):
    new = a_gallery(50, seed=1, first=ROWS - 10)  # ten of them replace rows
    source = save_rows(tmp_path / "new.npz", new)
    path = update_gallery(base, add=source, delete=["row-3"], report=None)
    old = a_gallery()
    rows = np.concatenate([old.embeddings[:3], old.embeddings[4:-10], new.embeddings])
    read = read_served_gallery(path)
    np.testing.assert_array_equal(read.embeddings, kept(rows, head))
    card = card_of(path)["head"]
    assert card["head"] == head
    # What the head keeps is what it builds of these rows, with the cells of before.
    previous = None
    if head == "ivf":
        centroids = read_variables(base / "1", ["ivf_centroids"])["ivf_centroids"]
        previous = {"ivf_centroids": centroids.numpy()}
        assert card["cells_kept"] and card["rows_changed_since_cells"] == 51
        assert card["recall_wanted"] == 0.8 and card["recall_at_k"] >= 0.8
    before = kept(rows[: -len(new.ids)], head)
    expected = load_head(head).build(
        np.concatenate([before, new.embeddings]), recall=0.8, k=5, previous=previous
    )
    stored = read_variables(path, list(expected.arrays))
    for name, value in expected.arrays.items():
        np.testing.assert_array_equal(
            tf.cast(stored[name], tf.float32), np.asarray(value, np.float32), name
        )
    if trait(load_head(head), "kept") is not None:
        assert card["measured"] and "rounded before" in card["recall_is_of"]


@pytest.mark.parametrize("head", ["ivf"], indirect=True)
def test_cells_are_made_anew_when_a_fifth_of_the_rows_has_changed(base, tmp_path):
    changed, lines = 0, []
    for number, count in enumerate((200, 200, 20, 10)):
        new = a_gallery(count, seed=number, first=10_000 + 1000 * number)
        source = save_rows(tmp_path / "new.npz", new)
        path = update_gallery(base, add=source, report=lines.append)
        changed += count
        card = card_of(path)["head"]
        size = card_of(path)["gallery"]["size"]
        assert card["cells_kept"] == (changed <= 0.2 * size)
        changed = changed if card["cells_kept"] else 0
        assert card["rows_changed_since_cells"] == changed
    said = [line for line in lines if line.startswith("making new cells")]
    assert len(said) == 0
    source = save_rows(tmp_path / "new.npz", a_gallery(200, seed=9, first=90_000))
    path = update_gallery(base, add=source, report=lines.append)
    card = card_of(path)["head"]
    assert not card["cells_kept"] and card["rows_changed_since_cells"] == 0
    assert any("making new cells: 630 rows have changed" in line for line in lines)


def test_it_says_where_another_head_would_fit(base, head, tmp_path, monkeypatch):
    monkeypatch.setattr("tfembed.export.heads.EXACT_BYTES", 1024)
    lines = []
    path = update_gallery(base, delete=["row-3"], report=lines.append)
    said = [line for line in lines if line.startswith(f"the head stays {head}; ivf")]
    assert len(said) == (head != "ivf")
    assert card_of(path)["head"]["head"] == head


@pytest.mark.parametrize("head", ["exact"], indirect=True)
def test_a_version_without_labels_of_any_class(base, tmp_path):
    gallery = a_gallery(3, seed=5, first=0)
    source = tmp_path / "new.npz"
    np.savez(source, embeddings=gallery.embeddings, ids=gallery.ids)
    path = update_gallery(base, replace_all=source, report=None)
    read = read_served_gallery(path)
    assert read.labels.tolist() == [-1, -1, -1]
    assert read.class_names.tolist() == ["boot", "bag"]  # numbers stay what they were


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bfloat16", "ivf"])
def test_a_served_model_of_another_head_is_asked(exported, tmp_path, name):
    gallery = exported.run_dir / "gallery.npz"
    base = tmp_path / "base"
    export(exported.encoder, gallery, base, head=name, k=7, recall=0.9, report=None)
    rows = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = np.array([f"new/{row}" for row in range(40)])
    np.savez(tmp_path / "new.npz", embeddings=rows, ids=ids)
    lines = []
    path = update_gallery(
        base, add=tmp_path / "new.npz", delete=["train/ü0000"], report=lines.append
    )
    assert any("asked it in a fresh process" in line for line in lines)
    assert (path / "saved_model.pb").read_bytes() == (
        base / "1" / "saved_model.pb"
    ).read_bytes()
    assert card_of(path)["head"]["head"] == name
    model = tf.saved_model.load(str(path))
    found = model.signatures["search"](embeddings=tf.constant(rows))
    hits = found["ids"].numpy()[:, 0] == ids.astype(bytes)
    assert hits.mean() >= 0.9
