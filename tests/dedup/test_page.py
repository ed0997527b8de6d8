"""The page in headless Chromium: names of all sorts, a phone and a desk, the keyboard.

Needs Debian's packages chromium and chromium-driver.
"""

import numpy as np
import pytest
from browser import DESK, NEEDS_CHROMIUM, PHONE, Browser

from tfembed.dedup import dedup_source
from tfembed.dedup.page import _ticks, readable_bytes

Image = pytest.importorskip("PIL.Image")
NAMES = [
    "<script>document.title = 'hacked'.jpg",
    '"><img src=x onerror="document.title = 1">.jpg',
    "قميص أزرق طويل.jpg",
    "abc\u202egpj.exe.jpg",
    "long-" + "a" * 190 + ".jpg",
    "javascript:alert(1).jpg",
    "%2e%2e%2f#?x.jpg",
    "line\nbreak.jpg",
    "&amp; & co.jpg",
    "{{ script }} {{ groups }}.jpg",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page of ten pairs, of a group of thirty, and of rows without a picture."""
    folder = tmp_path_factory.mktemp("page")
    photos = folder / "ph'otos & more"
    photos.mkdir()
    rng = np.random.default_rng(0)
    ids, values = [], []
    for number, name in enumerate([*NAMES, "many"]):
        center = rng.standard_normal(30)
        names = [f"photo-{number}.jpg", name]
        if name == "many":
            names = [f"many-{copy:02d}.jpg" for copy in range(30)]
        for copy, each in enumerate(names):
            pixels = rng.integers(0, 256, (90 - copy, 120, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(photos / each, "JPEG")
            ids.append(each)
            values.append(center + 0.01 * (number + 1) * rng.standard_normal(30))
    ids += ["../outside.jpg", "missing.jpg"]
    values += [values[0], values[0]]
    np.savez(folder / "e.npz", embeddings=np.array(values), ids=np.array(ids))
    source = f"npz:{folder}/e.npz"
    done = dedup_source(source, folder / "out", threshold=0.95, images=photos)
    assert len(done.members) == 11
    return folder / "out", done


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    log = browser.driver.get_log("browser")
    browser.driver.quit()
    errors = [each for each in log if each["level"] == "SEVERE"]
    assert not errors, errors


@NEEDS_CHROMIUM
@pytest.mark.parametrize(("width", "dark"), [(PHONE, True), (DESK, False)])
def test_fits_and_shows_its_pictures(browser, made, width, dark):
    browser.open(made[0] / "index.html", width, dark)
    assert browser.run("document.documentElement.scrollWidth") == width
    browser.run("[...document.images].forEach(image => image.loading = 'eager') ?? 1")
    browser.run("Promise.all([...document.images].map(image => image.decode()))")
    assert browser.run("[...document.images].every(image => image.naturalWidth)")
    assert len(browser.all("img")) == 2 * len(NAMES) + 12
    assert len(browser.all(".nopicture")) == 2
    pixels = browser.screenshot(f"{width}")
    assert pixels.shape[1] == width and pixels.shape[0] > 1500
    assert (pixels[:, :3].mean() < 60) == dark
    outside = browser.run(
        "[...document.querySelectorAll('.group *')].filter(each => {"
        "const box = each.getBoundingClientRect();"
        "return box.left < 0 || box.right > innerWidth + 1}).length"
    )
    assert outside == 0


@NEEDS_CHROMIUM
def test_names_are_shown_as_they_are_and_do_nothing(browser, made):
    browser.open(made[0] / "index.html")
    assert browser.run("document.title").startswith("Near duplicates in")
    shown = browser.run(
        "[...document.querySelectorAll('.name bdi')].map(name => name.textContent)"
    )
    assert set(NAMES) <= set(shown)
    titles = browser.run(
        "[...document.querySelectorAll('.name')].map(name => name.title)"
    )
    assert titles == shown
    assert len(browser.all("script")) == 1
    # Each link leads to the very file; none leads out of the folder.
    links = browser.run("[...document.querySelectorAll('.tile a')].map(a => a.href)")
    assert len(links) == 2 * len(NAMES) + 12
    assert all(link.startswith("file:///") for link in links)
    assert not any("outside" in link for link in links)
    name = browser.run(
        "getComputedStyle([...document.querySelectorAll('.name bdi')].find("
        "name => name.textContent.includes('قميص'))).unicodeBidi"
    )
    assert name == "isolate"


@NEEDS_CHROMIUM
def test_groups_side_by_side_in_order(browser, made):
    _, done = made
    browser.open(made[0] / "index.html")
    certainty = browser.run(
        "[...document.querySelectorAll('.group')].map(g => +g.dataset.certainty)"
    )
    assert certainty == sorted(certainty, reverse=True) and len(certainty) == 11
    counts = browser.run(
        "[...document.querySelectorAll('.group')].map("
        "group => group.querySelectorAll('.tile.kept').length)"
    )
    assert counts == [1] * 11
    first = browser.run(
        "[...document.querySelectorAll('.tile.kept .name')].map(each => each.title)"
    )
    kept = done.rows.ids(done.members.rows[done.members.starts[:-1]])
    assert first == kept
    assert "and 18 more, in duplicates.csv" in browser.one("#list").text
    tops = browser.run(
        "[...document.querySelectorAll('#group-1 .tile')].map("
        "tile => tile.getBoundingClientRect().top)"
    )
    assert len(set(tops)) == 1  # side by side


@NEEDS_CHROMIUM
def test_by_keyboard(browser, made):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(made[0] / "index.html")
    focused = "document.activeElement.id"
    ActionChains(browser.driver).send_keys(Keys.TAB).perform()
    assert browser.run("document.activeElement.className") == "skip"
    for key, expected in (("j", "group-1"), ("j", "group-2"), ("k", "group-1")):
        ActionChains(browser.driver).send_keys(key).perform()
        assert browser.run(focused) == expected
    ActionChains(browser.driver).send_keys(Keys.TAB).perform()
    assert browser.run("document.activeElement.closest('#group-1 a') !== null")
    outline = browser.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    order = browser.one("#order")
    order.send_keys("l")  # least sure first
    ids = browser.run("[...document.querySelectorAll('.group')].map(g => g.id)")
    assert ids == [f"group-{number}" for number in range(11, 0, -1)]
    find = browser.one("#find")
    find.send_keys("jقميص")  # in the field it is a letter
    assert browser.one("#count").text == "0 of 11 groups"
    find.send_keys(Keys.CONTROL, "a")
    find.send_keys("قميص")
    shown = [group for group in browser.all(".group") if group.is_displayed()]
    assert len(shown) == 1 and browser.one("#count").text == "1 of 11 groups"
    find.send_keys(Keys.ESCAPE)
    assert browser.run("document.querySelector('#find').value") == ""
    assert all(group.is_displayed() for group in browser.all(".group"))


@NEEDS_CHROMIUM
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_tab_reaches_everything_in_order(browser, made, width):
    browser.open(made[0] / "index.html", width)
    stops = browser.check_tabs(most_names=8)
    assert len(stops) == 3 + 2 * len(NAMES) + 12


@NEEDS_CHROMIUM
def test_without_scripts_all_is_there(browser, made):
    browser.driver.execute_cdp_cmd(
        "Emulation.setScriptExecutionDisabled", {"value": True}
    )
    try:
        browser.open(made[0] / "index.html")
        assert len(browser.all(".group")) == 11
        assert browser.one("#group-1").is_displayed()
    finally:
        browser.driver.execute_cdp_cmd(
            "Emulation.setScriptExecutionDisabled", {"value": False}
        )


def test_of_more_groups_the_least_certain(made, tmp_path):
    folder, done = made
    again = dedup_source(
        f"npz:{folder.parent}/e.npz", tmp_path / "out", threshold=0.95, groups_on_page=3
    )
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert text.count('<article class="group"') == 3 and 'id="group-11"' in text
    assert "Shown are the 3 least certain of 11 groups" in text
    assert len(again.members) == 11


def test_asks_for_nothing_from_elsewhere(made):
    text = (made[0] / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert "http://" not in text and "https://" not in text


def test_thumbnails_of_before_are_gone(made, tmp_path):
    folder, _ = made
    (tmp_path / "out" / "thumbnails").mkdir(parents=True)
    (tmp_path / "out" / "dedup.json").write_text("{}")
    (tmp_path / "out" / "thumbnails" / "99999.jpg").write_bytes(b"old")
    (tmp_path / "out" / "thumbnails" / "mine.txt").write_bytes(b"mine")
    dedup_source(f"npz:{folder.parent}/e.npz", tmp_path / "out", threshold=0.95)
    assert [p.name for p in (tmp_path / "out" / "thumbnails").iterdir()] == ["mine.txt"]


def test_numbers_below_the_histogram_keep_apart():
    for last in range(5, 91):
        places = np.degrees(np.arccos(_ticks(last)))
        assert places[0] == 0 and places[-1] <= last
        assert np.diff(places).min(initial=last) >= last / 14


def test_bytes_as_people_read_them():
    sizes = (812, 4100, 48_400, 999_600, 1_340_000, 2.5e9)
    said = [readable_bytes(size).replace("\u00a0", " ") for size in sizes]
    assert said == ["812 B", "4.1 kB", "48 kB", "1.0 MB", "1.3 MB", "2.5 GB"]
