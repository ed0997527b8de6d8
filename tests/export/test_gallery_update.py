"""A new gallery becomes a new version: what it answers and leaves, what it says."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from shared import without_lines

from tfembed.export import gallery_update, read_served_gallery, update_gallery
from tfembed.export.gallery_state import gallery_sha256
from tfembed.export.saved_variables import gallery_variables, unlike_variables
from tfembed.export.versions import NewerVersionError, version_numbers
from tfembed.formats.image_metadata import read_metadata, write_metadata
from tfembed.formats.shards import write_manifest, write_shard
from tfembed.formats.text_columns import pack_columns

DIM = 16


@pytest.fixture
def base(exported, tmp_path):
    """A folder with one version, that of `exported`."""
    shutil.copytree(exported.path, tmp_path / "base" / "1")
    return tmp_path / "base"


@pytest.fixture
def older(base):
    """As `base`, exported before there were signatures that take lines."""
    without_lines(base / "1")
    return base


def unit_rows(count, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_rows(path, ids, labels, seed=0, **more):
    rows = unit_rows(len(ids), seed)
    ids = np.array(ids, np.str_)
    np.savez(path, embeddings=rows, ids=ids, labels=np.array(labels), **more)
    return rows


def visible(base):
    return sorted(path.name for path in base.iterdir() if path.name[0] != ".")


def staged(base):
    return [path.name for path in base.iterdir() if "staging" in path.name]


def card_of(path):
    return json.loads((path / "card.json").read_text(encoding="utf-8"))


def as_dict(gallery):
    names = [*gallery.class_names.tolist(), ""]
    return {
        str(name): (names[label], row.tobytes())
        for name, label, row in zip(gallery.ids, gallery.labels, gallery.embeddings)
    }


def search(path, queries):
    model = tf.saved_model.load(str(path))
    found = model.signatures["search"](embeddings=tf.constant(queries))
    return {name: value.numpy() for name, value in found.items()}


def assert_answers(path, gallery, seed=3, k=7):
    """The version answers as NumPy does on the gallery, in float64."""
    queries = unit_rows(9, seed)
    answer = search(path, queries)
    scores = queries.astype(np.float64) @ gallery.embeddings.T.astype(np.float64)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, 1)
    np.testing.assert_allclose(answer["scores"], best, atol=1e-5)
    names = np.array(["", *gallery.class_names.tolist()])
    row_of = {name: row for row, name in enumerate(gallery.ids.tolist())}
    for query, ids in enumerate(answer["ids"]):
        rows = [row_of[name.decode()] for name in ids]
        np.testing.assert_allclose(scores[query, rows], best[query], atol=1e-5)
        labels = [name.decode() for name in answer["labels"][query]]
        assert labels == names[gallery.labels[rows] + 1].tolist()


def say_of_rows(version, ids, columns):
    """Gives a version's images further columns, as an export of a list has them."""
    names = write_metadata(version, ids, columns)
    card = card_of(version)
    assert card["gallery"]["metadata"] == []
    card["gallery"]["metadata"] = names
    (version / "card.json").write_text(json.dumps(card), "utf-8")


class Updated:
    """Version 2, of a base with one: rows added, replaced and deleted."""

    def __init__(self, exported, folder):
        self.base = folder / "base"
        shutil.copytree(exported.path, self.base / "1")
        self.old = read_served_gallery(self.base)
        self.gone = [str(name) for name in self.old.ids[[0, 350, 699]]]
        self.ids = [str(self.old.ids[5]), "neu/1", "neu/2"]
        self.source = folder / "new.npz"
        said = [f"brand {row}" for row in range(7)]
        say_of_rows(self.base / "1", self.old.ids[:7], {"brand": said})
        columns = pack_columns({"price": ["5", "", "<b>"], "size": ["", "", "XL"]})
        self.rows = write_rows(self.source, self.ids, ["bag", "hat", ""], **columns)
        self.lines = []
        self.path = update_gallery(
            self.base, add=self.source, delete=self.gone, report=self.lines.append
        )


@pytest.fixture(scope="module")
def updated(exported, tmp_path_factory):
    """One update, once for the tests that look at it."""
    return Updated(exported, tmp_path_factory.mktemp("updated"))


def test_rows_are_added_replaced_and_deleted(updated):
    base = updated.base
    assert updated.path == base / "2"
    assert visible(base) == ["1", "2"] and not staged(base)
    expected = as_dict(updated.old)
    for name in updated.gone:
        del expected[name]
    for name, label, row in zip(updated.ids, ["bag", "hat", ""], updated.rows):
        expected[name] = label, row.tobytes()
    new = read_served_gallery(updated.path)
    assert list(as_dict(new).items()) == list(expected.items())
    assert new.class_names.tolist() == [*updated.old.class_names.tolist(), "hat"]
    assert new.known_threshold == updated.old.known_threshold
    assert new.vote_k == updated.old.vote_k
    assert_answers(updated.path, new)
    assert updated.lines[-1].startswith(f"published version 2: {updated.path}")
    said = "2 rows added, 1 replaced, 3 deleted: 699 rows"
    assert any(said in line for line in updated.lines)


def test_further_columns_come_and_go_with_the_rows(updated):
    names = [*updated.old.ids[:8].tolist(), "neu/1", "neu/2"]
    said = [{"brand": f"brand {row}"} for row in range(7)] + [{}]
    assert read_metadata(updated.base / "1", names) == [*said, {}, {}]
    said[0], said[5] = {}, {"price": "5"}  # deleted, replaced
    new = {"price": "<b>", "size": "XL"}
    assert read_metadata(updated.path, names) == [*said, {}, new]
    columns = card_of(updated.path)["gallery"]["metadata"]
    assert columns == ["brand", "price", "size"]
    assert not any("further columns" in line for line in updated.lines)


def test_the_encoder_stays_byte_for_byte(updated):
    one, two = updated.base / "1", updated.path
    names = ("saved_model.pb", "assets.extra/tf_serving_warmup_requests")
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()
    files = [
        {each.relative_to(path).as_posix() for each in path.rglob("*")}
        for path in (one, two)
    ]
    assert files[0] - files[1] <= {"fingerprint.pb"} and files[1] <= files[0]
    assert unlike_variables(one, two) == []
    held = [gallery_variables(path) for path in (one, two)]
    assert held[0].keys() == held[1].keys() and held[0] != held[1]


def test_the_card_says_what_was_done(updated):
    before, card = card_of(updated.base / "1"), card_of(updated.path)
    assert card["gallery"]["size"] == 699
    assert card["gallery"]["sha256"] != before["gallery"]["sha256"]
    assert card["gallery"]["sha256"] == gallery_sha256(
        read_served_gallery(updated.path)
    )
    assert card["gallery"]["classes"][-1] == "hat"
    assert card["encoder"] == before["encoder"] and card["k"] == before["k"]
    assert card["head"] == before["head"]
    origin = card["origin"]
    assert origin["made_by"] == "gallery update" and origin["from_version"] == 1
    assert (origin["added"], origin["replaced"], origin["deleted"]) == (2, 1, 3)
    assert origin["sources"] == [str(updated.source)]
    assert "699" in (updated.path / "README.md").read_text(encoding="utf-8")
    client = json.loads((updated.path / "assets.extra/tfembed.json").read_text("utf-8"))
    assert client["gallery_size"] == 699 and client["class_names"][-1] == "hat"


def test_a_threshold_of_another_gallery_is_stale(updated):
    before, known = (
        card_of(each)["known"] for each in (updated.base / "1", updated.path)
    )
    assert before["stale"] is False and known["stale"] is True
    assert known["threshold"] == before["threshold"]
    assert known["gallery_sha256"] == before["gallery_sha256"]
    page = (updated.path / "README.md").read_text(encoding="utf-8")
    assert "older than the gallery" in page


@pytest.mark.parametrize(
    "format", ["npz", pytest.param("parquet", marks=pytest.mark.slow)]
)
def test_everything_is_replaced_by_shards(older, tmp_path, format):
    if format == "parquet":
        pytest.importorskip("pyarrow", exc_type=ImportError)
    folder = tmp_path / "shards"
    folder.mkdir()
    rows, names = unit_rows(30), [f"new/{row}" for row in range(30)]
    labels = np.arange(30) % 3 - 1
    say_of_rows(older / "1", ["train/ü0000", names[0]], {"brand": ["a", "b"]})
    shards = []
    for number, part in enumerate((slice(0, 20), slice(20, 30))):
        file = f"part-0000{number}.{format}"
        half = rows[part].astype(np.float16)
        size = {"size": [f"size {row}" for row in range(len(half))]} if number else {}
        write_shard(folder / file, names[part], labels[part], half, size)
        shards.append({"file": file})
    about = {"finished": True, "shards": shards, "class_names": ["hat", "bag"]}
    write_manifest(folder, about)
    path = update_gallery(older, replace_all=folder, report=None)
    new = read_served_gallery(older)
    assert new.ids.tolist() == names
    named = [*new.class_names.tolist(), ""]
    assert [named[label] for label in new.labels] == ["", "hat", "bag"] * 10
    assert new.class_names.tolist() == ["boot", "bag", "Überzieher", "hat"]
    np.testing.assert_allclose(new.embeddings, rows, atol=2e-3)
    assert_answers(path, new)
    origin = card_of(path)["origin"]
    assert (origin["added"], origin["deleted"]) == (30, 700)
    said = read_metadata(path, ["train/ü0000", names[0], names[20], names[29]])
    assert said == [{}, {}, {"size": "size 0"}, {"size": "size 9"}]
    assert card_of(path)["gallery"]["metadata"] == ["size"]


def test_images_are_embedded_by_the_model_itself(base, exported, tmp_path):
    folder = tmp_path / "photos"
    encoded = exported.png(exported.images[:4])
    for name, image in zip(("hat/b.png", "hat/a.png", "bag/ü.png"), encoded):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image)
    (folder / "top.png").write_bytes(encoded[3])
    (folder / "hat/broken.png").write_bytes(b"no image")
    (folder / ".hidden").write_bytes(b"passed over")
    say_of_rows(base / "1", ["train/ü0003"], {"brand": ["a"], "price": ["7"]})
    lines = []
    path = update_gallery(base, add=f"images:{folder}", report=lines.append)
    said = "4 rows come without the further columns of the gallery (brand, price)"
    assert any(line.startswith(said) for line in lines)
    said = read_metadata(path, ["train/ü0003", "top.png"])
    assert said == [{"brand": "a", "price": "7"}, {}]
    new = as_dict(read_served_gallery(path))
    embeddings = exported.embeddings(exported.images[:4])
    for name, label, row in zip(
        ("hat/b.png", "hat/a.png", "bag/ü.png", "top.png"),
        ("hat", "hat", "bag", ""),
        embeddings,
    ):
        given, stored = new[name]
        assert given == label
        np.testing.assert_allclose(np.frombuffer(stored, np.float32), row, atol=1e-5)
    assert len(new) == 704
    assert any("left out 1: hat/broken.png" in line for line in lines)
    assert card_of(path)["origin"]["left_out"] == 1


def break_rows(path, **changes):
    arrays = {
        "embeddings": unit_rows(2),
        "ids": np.array(["x", "y"]),
        "labels": np.array([0, 1]),
        **changes,
    }
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": unit_rows(2)[:, :9]}, "of length 16.*Received: length 9"),
        ({"embeddings": 2 * unit_rows(2)}, "length 1.*row 0 of length 2"),
        ({"embeddings": np.full((2, 16), np.nan)}, "finite rows"),
        ({"ids": np.array(["x", "x"])}, "each id once. Received: 'x'"),
        ({"ids": np.array(["x", ""])}, "must not be empty"),
        ({"ids": np.array([1, 2])}, "`ids` must be strings"),
        ({"ids": None}, "must hold `ids`"),
        ({"labels": np.array([0, 7])}, "the gallery's, 0 to 2. Received: 7"),
        ({"labels": np.array([0.5, 1])}, "integers or strings"),
        (
            {"embeddings": np.empty((0, 16)), "ids": np.empty(0, str)},
            "at least one row|",
        ),
    ],
)
def test_files_that_do_not_fit(base, tmp_path, changes, message):
    break_rows(tmp_path / "bad.npz", **changes)
    with pytest.raises(ValueError, match=message):
        update_gallery(base, add=tmp_path / "bad.npz", report=None)
    assert visible(base) == ["1"] and not staged(base)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Give `add`, `delete` or both"),
        ({"add": "x.npz", "replace_all": "y.npz"}, "or `replace_all` alone"),
        ({"delete": ["nobody"]}, "must be in the gallery. Received: 'nobody'"),
        ({"add": "nowhere.npz"}, "which is not there"),
        ({"add": "images:nowhere"}, "which is not a folder"),
    ],
)
def test_arguments_that_do_not_fit(base, arguments, message):
    with pytest.raises(ValueError, match=message):
        update_gallery(base, report=None, **arguments)
    assert visible(base) == ["1"] and not staged(base)


def test_nothing_to_change_makes_no_version(base):
    lines = []
    path = update_gallery(
        base, delete=["nobody"], ignore_missing=True, report=lines.append
    )
    assert path == base / "1" and visible(base) == ["1"]
    assert "nothing to change: version 1 stays" in lines[-1]


def test_a_folder_without_versions(tmp_path):
    with pytest.raises(ValueError, match="`model_base` must be a folder"):
        update_gallery(tmp_path / "none", delete=["x"], report=None)
    (tmp_path / "base/1").mkdir(parents=True)
    with pytest.raises(ValueError, match="with a model card"):
        update_gallery(tmp_path / "base", delete=["x"], report=None)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow, id=values[0])


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("gallery_labels", lambda v: np.roll(v, 1), "have the labels"),
        slow("gallery_ids", lambda v: np.roll(v, 1), "do not have the scores"),
        slow("gallery_embeddings", lambda v: -v, "scores"),
        ("known_threshold", lambda v: np.float32(2), "is known="),
        slow("id_rows", lambda v: v[::-1], "own ids"),
    ],
)
def test_a_version_that_answers_otherwise_is_not_published(
    base, monkeypatch, name, wrong, message
):
    whole = gallery_update.gallery_state

    def state(gallery, built):
        values = whole(gallery, built)
        return {**values, name: np.array(wrong(values[name]))}

    monkeypatch.setattr(gallery_update, "gallery_state", state)
    with pytest.raises(RuntimeError, match=message):
        update_gallery(base, delete=["train/ü0000"], report=None)
    assert visible(base) == ["1"] and not staged(base)


def test_an_encoder_that_changed_is_not_published(base, monkeypatch):
    rewrite = gallery_update.rewrite_variables

    def broken(source, target, values):
        rewrite(source, target, values)
        data = target / "variables/variables.data-00000-of-00001"
        content = bytearray(data.read_bytes())
        content[8] ^= 1
        data.write_bytes(content)

    monkeypatch.setattr(gallery_update, "rewrite_variables", broken)
    with pytest.raises((RuntimeError, tf.errors.OpError)):
        update_gallery(base, delete=["train/ü0000"], report=None)
    assert visible(base) == ["1"] and not staged(base)


def test_a_version_of_other_variables_is_refused(base, monkeypatch):
    state = gallery_update.gallery_state
    monkeypatch.setattr(
        gallery_update,
        "gallery_state",
        lambda *args: {**state(*args), "vote_k": np.int64(3), "more": np.int32(1)},
    )
    with pytest.raises(ValueError, match="more: .*vote_k: .*Export the model again"):
        update_gallery(base, delete=["train/ü0000"], report=None)
    assert visible(base) == ["1"] and not staged(base)


def publish_meanwhile(monkeypatch, action):
    """Does something once, when a new version was written and is to be checked."""
    check, done = gallery_update.check_gallery, []

    def act_or_check(*args):
        if done:
            return check(*args)
        done.append(True)
        action()
        return 0.0

    monkeypatch.setattr(gallery_update, "check_gallery", act_or_check)


def test_an_update_meanwhile_loses_no_rows(base, updated, tmp_path, monkeypatch):
    write_rows(tmp_path / "one.npz", ["one"], ["cap"], seed=1)
    publish_meanwhile(monkeypatch, lambda: shutil.copytree(updated.path, base / "2"))
    lines = []
    path = update_gallery(base, add=tmp_path / "one.npz", report=lines.append)
    assert path == base / "3" and visible(base) == ["1", "2", "3"]
    assert any("version 2 was published meanwhile" in line for line in lines)
    new = read_served_gallery(path)
    assert new.ids.tolist()[-3:] == ["neu/1", "neu/2", "one"]
    assert new.class_names.tolist()[-2:] == ["hat", "cap"]
    assert card_of(path)["origin"]["from_version"] == 2


def test_another_encoder_meanwhile_is_refused(base, monkeypatch):
    def export():
        shutil.copytree(base / "1", base / "2")
        card = card_of(base / "2")
        card["encoder"]["sha256"] = "another"
        (base / "2/card.json").write_text(json.dumps(card))

    publish_meanwhile(monkeypatch, export)
    with pytest.raises(ValueError, match="Version 2 .* with another encoder"):
        update_gallery(base, delete=["train/ü0000"], report=None)
    assert visible(base) == ["1", "2"] and not staged(base)


def test_who_is_overtaken_again_and_again_gives_up(base, monkeypatch):
    def overtake(*args):
        newest = max(version_numbers(base))
        shutil.copytree(base / "1", base / str(newest + 1))
        return 0.0

    monkeypatch.setattr(gallery_update, "check_gallery", overtake)
    with pytest.raises(NewerVersionError, match="nothing was changed"):
        update_gallery(base, delete=["train/ü0000"], report=None)
    assert version_numbers(base) == [1, 2, 3, 4, 5, 6] and not staged(base)


def test_a_disk_that_fills_up(base):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(OSError, match="`model_base` must have room"):
            update_gallery(base, delete=["train/ü0000"], report=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert visible(base) == ["1"] and not staged(base)
