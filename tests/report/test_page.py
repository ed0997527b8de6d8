"""The page: what it says is what the run directory holds, and it holds itself."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from tfembed.report import figures, tables
from tfembed.report.page import build_page
from tfembed.report.projection import project
from tfembed.report.run import read_run, read_runs

VOID = {"meta", "img", "br", "link", "input"}


class Reader(HTMLParser):
    """Checks that tags nest; collects text, ids, links and images."""

    def __init__(self, page):
        super().__init__()
        self.open, self.words, self.ids = [], [], []
        self.links, self.sources, self.unnamed, self.scripts = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])
        for name in ("href", "src", "xlink:href"):
            if name in values:
                kind = self.links if name == "href" else self.sources
                kind.append(values[name])
        if tag == "img" and "alt" not in values:
            self.unnamed.append(values)
        if tag == "svg":
            assert values["role"] == "img" and values["aria-label"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        (self.scripts if self.open[-1:] == ["script"] else self.words).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page(shown):
    return (shown.path / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def both(compared):
    return compared.read_text(encoding="utf-8")


def test_says_what_the_run_directory_holds(page):
    text = Reader(page).text
    for words in (
        "instdisc, temperature 0.1",
        "tiny, 36 training images, 30 test images",
        "83.0 %",
        "79.0 to 87.0",
        "12 s, epochs 1 to 3",
        "instdisc.py --dataset tiny",
        "12 of 30 queries, drawn without looking",
        "smallest share of the vote",
        "At the end an image has 1.00 positives in the mean, 2 at most; 12 of 36",
        "33.3 % of the positives are of the image's class",
        "mined: 75.0 % at the end; as many nearest neighbours: 60.0 % at the end",
        "Linear probe: 61.0 %, raw pixels 62.0 %",
    ):
        assert words in text, words
    assert "Not there" not in text


def test_loads_nothing_and_leads_nowhere(page, both):
    for each in (page, both):
        found = Reader(each)
        assert found.sources and not found.unnamed
        for source in found.sources:
            assert source.startswith(("data:image/", "#")), source[:80]
        assert len(set(found.ids)) == len(found.ids)
        for link in found.links:
            assert link[0] == "#" and link[1:] in found.ids
        for inside in re.findall(r"url\(([^)]*)\)", each):
            assert inside.strip("\"'")[1:] in found.ids
        assert "default-src 'none'" in each


def test_names_are_text_and_not_html(page):
    assert "<b>Boot" not in page
    assert "<b>Boot</b> $x_1$" in Reader(page).text
    data = "".join(Reader(page).scripts)
    assert "\\u003cb\\u003eBoot" in data


def test_figures_are_xml_in_the_colors_of_the_page(page):
    svgs = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(svgs) > 8
    for svg in svgs:
        ElementTree.fromstring(
            svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        )
        assert "var(--" in svg or "map" in svg
        assert not re.search(r"#0[1-7]0[0-9]0[0-9]", svg)


def test_a_comparison_puts_runs_side_by_side(both):
    text = Reader(both).text
    assert "Comparison of one, two" in text
    assert "Settings that differ one two temperature 0.1 0.2 " in text
    assert "Settings that only some of the runs have one two margin 3 " in text
    assert "15 queries that both looked up" in text
    assert "one is right on" in text and "the queries being paired" in text
    assert (
        both.count('<th scope="row"><bdi>raw pixels</bdi></th>') == 1
    )  # the same in both
    assert 'id="run1-map"' in both and 'role="tabpanel"' in both


def test_an_older_run_gives_a_report_with_what_is_there(make_run, no_figures):
    path = make_run(queries=0, thumbnails=False)
    make_run.json(path / "result.json", {"dataset": "tiny", "table": []})
    (path / "log.csv").unlink()
    text = Reader(build_page([read_run(path)], ("pca",))).text
    for words in (
        "queries.npz is missing",
        "log.csv is missing",
        "thumbnails.npz is missing",
        "There is no log.",
        "No run has an accuracy table",
        "36 images of the gallery, looked up among all its others",
    ):
        assert words in text, words


def test_a_run_that_is_not_finished(make_run, no_figures):
    path = make_run()
    for name in ("gallery.npz", "queries.npz", "result.json", "thumbnails.npz"):
        (path / name).unlink()
    text = Reader(build_page([read_run(path)], ("pca",))).text
    assert "3 of 3 epochs" in text and "not finished" in text
    assert "There are no embeddings to look up" in text


def test_a_run_that_diverged(make_run):
    path = make_run()
    with np.load(path / "queries.npz") as file:
        content = dict(file)
    content["embeddings"][0] = np.nan
    np.savez(path / "queries.npz", **content)
    (path / "log.csv").write_text("epoch,loss\n0,3.0\n1,nan\n")
    text = Reader(build_page([read_run(path)], ("pca",))).text
    assert "1 embeddings are not finite" in text
    assert "loss became infinite or no number" in text


def test_without_labels_nothing_is_right_or_wrong(make_run):
    page = build_page([read_run(make_run(labelled=False))], ("pca",))
    assert "✓ " not in Reader(page).text and "Wrong votes" not in page
    assert "nearest neighbours" in Reader(page).text


def test_color_pictures_of_unseen_classes(make_run, no_figures):
    path = make_run(queries=0, channels=3, result={"protocol": "unseen"})
    text = Reader(build_page([read_run(path)], ("pca",))).text
    assert "36 images of classes that training never saw" in text


def test_detail_gives_way_to_size(make_run, monkeypatch, no_figures):
    monkeypatch.setattr("tfembed.report.page.DETAIL", ((32, 32, 50), (8, 8, 50)))
    path = make_run(thumbnails=False)
    ids = read_run(path).queries.ids
    images = np.random.default_rng(0).integers(0, 256, (15, 40, 40, 3), dtype=np.uint8)
    np.savez(path / "query_thumbnails.npz", images=images, ids=ids)
    run = read_run(path)
    full = build_page([run], ("pca",))
    less = build_page([run], ("pca",), most_bytes=len(full))
    assert len(less) < len(full) - 15 * 3 * 500
    with pytest.raises(ValueError, match="Compare fewer runs"):
        build_page([run], ("pca",), most_bytes=len(less) // 2)


def test_a_loss_that_went_up_and_a_best_per_column(make_run):
    path = make_run()
    (path / "log.csv").write_text("loss\n1.0\n2.0\n")
    run = read_run(path)
    assert "The loss went up, from 1 in the first epoch to 2" in tables.warnings(run)[0]
    rows = tables.accuracy([run])["rows"]
    assert [row["cells"]["knn_10"]["best"] for row in rows] == [False, True]
    assert [row["cells"]["linear_probe"]["best"] for row in rows] == [True, False]
    assert rows[1]["cells"]["knn_10"]["interval"] == (0.79, 0.87)


def test_baselines_that_differ_keep_their_runs_name(make_run):
    one, two = make_run("one"), make_run("two")
    table = [{"representation": "raw pixels", "knn_10": 0.5}, {"knn_10": 0.9}]
    make_run.json(two / "result.json", {"table": table})
    names = [row["name"] for row in tables.accuracy(read_runs([one, two]))["rows"]]
    assert names == ["raw pixels (one)", "raw pixels (two)", "one", "two"]


def test_epochs_and_directions_are_counted_in_whole_numbers():
    two = np.array([0.2, 0.1])
    for svg in (
        figures.curves("curve", [("loss", 0, np.arange(2.0), two)], "Two epochs."),
        figures.spectrum("spectrum", [("run", 0, two)], "Two directions."),
    ):
        below = re.split("epoch</text>|directions, the", svg)[0]  # the x axis is first
        ticks = re.findall(r">([0-9.]+)</text>", below)
        assert ticks and all(float(tick).is_integer() for tick in ticks), ticks


@pytest.mark.parametrize("count", [1, 10, 17, 500])
def test_class_colors_differ(count):
    colors = figures.class_colors(count)
    assert len(colors) == count
    assert len(set(colors)) > 0.95 * count
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)


def test_pca_keeps_the_two_largest_directions(rng):
    x = rng.normal(size=(40, 5)) * [3, 2, 0.1, 0.1, 0.1]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:2].T
    found = project(x, "pca")
    assert found.min() == 0 and found.max() == 1
    for at in (0, 1):
        r = np.corrcoef(found[:, at], expected[:, at])[0, 1]
        assert abs(r) == pytest.approx(1, abs=1e-5)


def test_tsne_keeps_classes_together_and_repeats(rng):
    place = np.repeat([0, 1, 2], 8)
    x = np.eye(4)[place] + rng.normal(scale=0.02, size=(24, 4))
    found = project(x, "tsne", seed=1)
    np.testing.assert_array_equal(found, project(x, "tsne", seed=1))
    far = np.linalg.norm(found[:, None] - found, axis=2) + 9 * np.eye(24)
    assert (place[far.argmin(axis=1)] == place).all()


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("x", [np.ones((9, 3)), np.ones((2, 4)), np.eye(5)[:, :1]])
def test_a_map_of_little(method, x):
    found = project(x, method)
    assert found.shape == (len(x), 2) and np.isfinite(found).all()
