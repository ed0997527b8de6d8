"""The model card: one dictionary, three files."""

import json

from tfembed.export.card import render_card, write_card

CARD = {
    "tfembed": "1",
    "tensorflow": "2",
    "keras": "3",
    "created": "2026-01-01T00:00:00Z",
    "encoder": {"sha256": "ab", "image_shape": [28, 20, 1], "dim": 64},
    "gallery": {"size": 12345, "sha256": "cd", "classes": ["a|b", "c"], "source": "x"},
    "head": {
        "head": "ivf",
        "recall_at_k": 0.9612,
        "recall_k": 10,
        "recall_queries": 1000,
        "probes": 12,
    },
    "query": {"examples": 64, "exact": "with filters"},
    "k": 10,
    "known": {
        "threshold": 0.7312,
        "calibrated_on": "500 held-out queries (q.npz)",
        "false_rejection": 0.05,
        "gallery_sha256": "cd",
        "stale": False,
    },
    "vote": {"temperature": 0.07, "k": 200},
    "method": {"recipe": "instdisc", "epochs": 3},
    "data": {"dataset": "fashion_mnist", "training_images": 60000},
    "metrics": [
        {"representation": "raw pixels", "knn_10": 0.5, "linear_probe": None},
        {
            "representation": "trained encoder",
            "knn_10": 0.81,
            "linear_probe": 0.9,
            "intervals": {"knn_10": [0.8, 0.82]},
        },
    ],
    "checks": {"embeddings_within": 1e-7, "runtimes": ["C API"], "images": 8},
}


def test_the_page_says_what_the_card_holds():
    page = render_card(CARD)
    for line in (
        "| recall of the nearest rows | 0.9612 at 10, measured on 1,000 queries |",
        "| classes | 2: a\\|b, c |",
        "| images | 28 high, 20 wide, grey |",
        "| trained encoder | 0.81 (0.8 to 0.82) | 0.9 |",
        "| raw pixels | 0.5 | - |",
        "| a query is known from a best score of | 0.7312 |",
        "| genuine queries that it rejects | 5 % |",
        "| training images | 60,000 |",
        "| probes | 12 |",
        "| exact in the signature `query` | with filters |",
        "| most examples of a question | 64 |",
    ):
        assert line in page.splitlines()
    assert "older than the gallery" not in page and "{" not in page


def test_a_stale_threshold_is_marked():
    stale = {**CARD, "known": {**CARD["known"], "stale": True}}
    assert "**The threshold is older than the gallery.**" in render_card(stale)


def test_never_unknown_is_said():
    known = {"threshold": -1e30}
    assert "no threshold was calibrated" in render_card({**CARD, "known": known})


def test_what_is_missing_is_left_out():
    page = render_card({"k": 3})
    assert "None" not in page and "## Gallery" not in page


def test_three_files(tmp_path):
    write_card(tmp_path, CARD)
    card = json.loads((tmp_path / "card.json").read_text("utf-8"))
    assert card == {"format_version": 1, **CARD}
    assert (tmp_path / "README.md").read_text("utf-8") == render_card(card)
    client = json.loads((tmp_path / "assets.extra/tfembed.json").read_text("utf-8"))
    assert client["gallery_size"] == 12345 and client["head"] == "ivf"
    assert client["class_names"] == ["a|b", "c"] and client["recipe"] == "instdisc"
    write_card(tmp_path, {**CARD, "k": 3})  # again, over the old ones
    assert json.loads((tmp_path / "card.json").read_text("utf-8"))["k"] == 3
