"""A head of another package or of a user's: exported, checked, updated, published."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from shared import in_a_fresh_process
from small_versions import a_gallery, card_of, save_rows, write_version

from tfembed.export import (
    HeadState,
    export,
    gallery_update,
    list_versions,
    read_served_gallery,
    update_gallery,
)
from tfembed.export.card import write_card
from tfembed.export.heads import HEADS, check_state, load_head
from tfembed.publish import publish

HEAD = '''
"""A head that keeps rows in float16, and what it was given before."""

import numpy as np
import tensorflow as tf

from tfembed.export import Head, HeadState


class Half(Head):
    tolerance = 2.0**-9
    carries = ("half_made",)
    times = []

    def build(self, embeddings, *, previous=None, **options):
        self.times.append((previous, options.get("recall"), options.get("k")))
        rows = np.asarray(embeddings, np.float16)
        made = np.zeros(1, np.int32) if previous is None else previous["half_made"] + 1
        card = {"head": "nonsense", "recall_wanted": 0.9, "recall_k": 4}
        card["cells_kept"] = previous is not None
        return HeadState({"half_embeddings": rows, "half_made": made}, card)

    def _rows(self, variables):
        return tf.cast(tf.convert_to_tensor(variables["half_embeddings"]), tf.float32)

    def search(self, variables, queries, k):
        rows = self._rows(variables)
        scores = tf.matmul(queries, rows, transpose_b=True)
        return tf.math.top_k(scores, tf.minimum(k, tf.shape(rows)[0]))

    def pairs(self, variables, queries, rows):
        found = tf.gather(self._rows(variables), tf.maximum(rows, 0))
        scores = tf.einsum("bd,bmd->bm", queries, found)
        return tf.where(rows < 0, -np.inf, scores)

    def embeddings_of(self, variables, rows):
        return tf.gather(self._rows(variables), rows)

    def score_columns(self, variables):
        return tf.shape(variables["half_embeddings"])[0]

    stored_count = score_columns

    def stored(self, variables, start, count):
        return self._rows(variables)[start : start + count], tf.range(
            start, start + count
        )


class Forgets(Head):
    """Of more than 600 rows it loses those of the first half."""

    exact = True

    def search(self, variables, queries, k):
        rows = tf.convert_to_tensor(variables["gallery_embeddings"])
        size = tf.shape(rows)[0]
        lost = (tf.range(size) < size // 2) & (size > 600)
        scores = tf.matmul(queries, rows, transpose_b=True)
        return tf.math.top_k(tf.where(lost, -1.0, scores), tf.minimum(k, size))


class Named(Half):
    def build(self, embeddings, **options):
        built = super().build(embeddings, **options)
        return HeadState({**built.arrays, "signatures": built.arrays["half_made"]}, {})


class Asked(Half):
    def build(self, embeddings, **options):
        built = super().build(embeddings, **options)
        return HeadState({**built.arrays, "search": built.arrays["half_made"]}, {})


class Rounded(Half):
    tolerance = 1e-5


def function():
    raise AssertionError("called")
'''


@pytest.fixture
def own(importable):
    """The name of a module of heads."""
    return importable("heads", HEAD)


def export_small(exported, base, head, report=None):
    return export(
        exported.encoder,
        exported.gallery,
        base,
        head=head,
        k=5,
        warmup_batches=(1,),
        report=report,
    )


def test_a_package_offers_it_and_it_is_published_updated_and_read_back(
    own, installed, exported, tmp_path
):
    installed("their-heads", f"[tfembed.heads]\nhalf = {own}:Half\nivf = {own}:Half\n")
    assert list(HEADS) == [*HEADS.parts, "half"]
    assert own not in sys.modules
    base, lines = tmp_path / "base", []
    path = publish(
        exported.run_dir / "model.keras",
        base,
        str(exported.run_dir / "gallery.npz"),
        head="half",
        k=3,
        warmup_batches=(1,),
        report=lines.append,
    )
    assert load_head("ivf").__name__ == "tfembed.export.heads.ivf"
    said = "\n".join(lines)
    assert "tried the head half on small galleries" in said and "built the half" in said
    card = card_of(path)
    assert card["head"]["head"] == "half" and "what the head finds" in str(
        card["query"]
    )
    assert "| half |" in (path / "README.md").read_text(encoding="utf-8")
    rows = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = np.array([f"new/{row}" for row in range(30)])
    np.savez(tmp_path / "new.npz", embeddings=rows, ids=ids)
    added = tmp_path / "new.npz"
    update_gallery(base, add=added, delete=["train/ü0003"], report=None)
    card = card_of(base / "2")
    assert card["head"]["head"] == "half" and card["head"]["cells_kept"]
    assert card["checks"]["gallery_scores_within"] <= 2.0**-9
    graphs = [(base / each / "saved_model.pb").read_bytes() for each in "12"]
    assert graphs[0] == graphs[1]
    gallery = read_served_gallery(base)
    old = np.delete(exported.gallery["embeddings"], 3, axis=0)
    wanted = np.concatenate([old, rows]).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(gallery.embeddings, wanted)
    assert [each["head"] for each in list_versions(base)] == ["half", "half"]
    model = tf.saved_model.load(str(base / "2"))
    found = model.signatures["search"](embeddings=tf.constant(rows))["ids"].numpy()
    assert found[:, 0].tolist() == [each.encode() for each in ids]


def test_where_the_package_is_not_installed_an_update_says_so(tmp_path):
    write_version(tmp_path / "base" / "1", "exact", a_gallery(10))
    path = tmp_path / "base" / "1"
    card = card_of(path)
    for name, said in (
        ("half", "Received: 'half'. Install the package that offers it"),
        ("my_head:Half", "there is no module 'my_head'. Start the command in its"),
    ):
        write_card(path, {**card, "head": {**card["head"], "head": name}})
        with pytest.raises(ValueError, match=said):
            update_gallery(tmp_path / "base", delete=["row-3"], report=None)


def test_it_is_given_what_it_keeps_until_a_fifth_has_changed(
    own, tmp_path, monkeypatch
):
    monkeypatch.setattr(gallery_update, "check_gallery", lambda *args: 0.0)
    base, name = tmp_path / "base", f"{own}:Half"
    write_version(base / "1", name, a_gallery(200))
    times = load_head(name).times
    changed = 0
    for number, count in enumerate((20, 15, 30)):
        rows = a_gallery(count, seed=number, first=1000 * (number + 1))
        path = update_gallery(
            base, add=save_rows(tmp_path / "new.npz", rows), report=None
        )
        changed += count
        card = card_of(path)
        keeps = changed <= 0.2 * card["gallery"]["size"]
        previous, recall, k = times[-1]
        assert keeps == (number < 2) == (previous is not None)
        assert (recall, k) == (0.9, 4)
        assert card["head"]["cells_kept"] == keeps
        kept = changed if keeps else 0
        assert card["head"]["rows_changed_since_cells"] == kept
        if keeps:
            assert previous["half_made"].tolist() == [number]


@pytest.mark.slow
def test_what_loses_rows_of_a_large_gallery_is_not_published(own, exported, tmp_path):
    with pytest.raises(RuntimeError, match="does not answer as it should: scores"):
        export_small(exported, tmp_path / "base", f"{own}:Forgets")
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(
    "head, message",
    [
        ("Rounded", "must do as tfembed.export.heads says: scores of"),
        ("Named", "no attribute of the model is named. Received: 'signatures'"),
        ("Asked", "no attribute of the model is named. Received: 'search'"),
        ("function", "without build, search"),
        ("HeadState", "without build, search"),
        ("Hlaf", r"Did you mean .*:Half"),
    ],
)
def test_what_is_no_head_is_told(own, head, message, exported, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_small(exported, tmp_path / "base", f"{own}:{head}")
    assert not (tmp_path / "base").exists()


def test_a_name_is_imported_and_not_called():
    """A card is read: what it names is called only if it can be a head."""
    with pytest.raises(ValueError, match="a builtin_function_or_method without build"):
        load_head("os:getcwd")
    with pytest.raises(ValueError, match="no module 'no_such'.*PYTHONPATH"):
        load_head("no_such.module:Head")
    with pytest.raises(ValueError, match="'ivf', or your own.*Did you mean ivf"):
        load_head("ivff")


@pytest.mark.parametrize(
    "command", [["export", "model", "a", "b"], ["publish", "a", "b", "--gallery", "c"]]
)
def test_flags_name_it_without_an_import(own, installed, tmp_path, command):
    installed("their-heads", f"[tfembed.heads]\nhalved = {own}:Half\n")
    words = ["-X", "importtime", "-m", f"tfembed.{command[0]}", *command[1:]]
    for more, status, said in (
        (["--help"], 0, "halved"),
        (["--head", "halvd"], 2, "Did you mean halved"),
        (["--head", "bfloat"], 2, "Did you mean bfloat16"),
    ):
        done = in_a_fresh_process([*words, *more], tmp_path)
        assert done.returncode == status and said in done.stdout + done.stderr
        lines = done.stderr.splitlines()
        imported = {line.rpartition("|")[2].strip() for line in lines}
        assert "tfembed.registry" in imported and not imported & {"tensorflow", own}


def test_arrays_of_one_number_are_arrays(rng):
    built = HeadState({"one": np.int32(3), "many": rng.random(3)}, {})
    check_state(built, "mine")
    with pytest.raises(ValueError, match="Received: the arrays one"):
        check_state(HeadState({"one": 3}, {}), "mine")
