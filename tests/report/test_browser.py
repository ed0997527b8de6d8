"""The page in headless Chromium, clicked through, at the width of a phone and a desk.

Needs Debian's packages chromium and chromium-driver.
"""

import numpy as np
import pytest
from browser import DESK, NEEDS_CHROMIUM, PHONE, Browser

from tfembed.report import figures
from tfembed.report.page import build_page
from tfembed.report.run import read_runs

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    # No script of the page failed, and nothing was asked for from outside.
    log = browser.driver.get_log("browser")
    browser.driver.quit()
    errors = [each for each in log if each["level"] == "SEVERE"]
    assert not errors, errors


@pytest.fixture
def run(shown):
    return shown


@pytest.fixture
def page(shown):
    return shown.path / "report.html"


@pytest.mark.parametrize(("width", "dark"), [(PHONE, True), (DESK, False)])
def test_fits_and_shows_its_pictures(browser, page, width, dark):
    browser.open(page, width, dark)
    assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.run(
        "[...document.images].every(image => image.complete && image.naturalWidth)"
    )
    pixels = browser.screenshot(f"{width}-{'dark' if dark else 'light'}")
    assert pixels.shape[1] == width and pixels.shape[0] > 3000
    assert (pixels[:, :4].mean() < 60) == dark and (pixels[:, :4].mean() > 200) != dark
    small = browser.run(
        "[...document.querySelectorAll('.plots .plot text')].filter("
        "text => text.getBoundingClientRect().height < 9).length"
    )
    assert small == 0


def test_tabs_show_the_random_ones_or_the_worst(browser, page):
    browser.open(page, PHONE)
    random, worst = (browser.one(f"#run0-{kind}") for kind in ("random", "worst"))
    assert random.is_displayed() and not worst.is_displayed()
    browser.click("#run0-worst-tab")
    assert worst.is_displayed() and not random.is_displayed()
    assert worst.find_elements("css selector", ".tile.wrong img")
    from selenium.webdriver.common.keys import Keys

    browser.one("#run0-worst-tab").send_keys(Keys.ARROW_RIGHT)
    assert random.is_displayed() and not worst.is_displayed()


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_tab_reaches_everything_in_order(browser, page, width):
    browser.open(page, width)
    browser.driver.execute_script(
        "for (const each of document.querySelectorAll('details')) each.open = true"
    )
    browser.check_tabs(most_names=15)


def test_light_and_dark_by_the_button(browser, page):
    browser.open(page)
    color = "getComputedStyle(document.body).backgroundColor"
    before = browser.run(color)
    browser.click("#theme")
    assert browser.run(color) != before
    browser.click("#theme")
    assert browser.run(color) == before


def test_the_map_shows_the_image_under_the_pointer(browser, page, run):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    stage, tip = browser.one(".stage"), browser.one("[data-tip=id]")
    points = "[...document.querySelectorAll('.layer:not([hidden]) use')].slice(-30)"
    ids = browser.run("JSON.parse(document.getElementById('run0-map-data').text).ids")
    assert sorted(ids) == sorted(run.queries.ids)
    browser.driver.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", stage
    )
    for at in (3, 17):
        x, y = browser.run(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])"
            f"({points}[{at}].getBoundingClientRect())"
        )
        box = browser.run("arguments[0].getBoundingClientRect()", stage)
        move = ActionChains(browser.driver).move_to_element_with_offset(
            stage, x - box["x"] - box["width"] / 2, y - box["y"] - box["height"] / 2
        )
        move.perform()
        assert tip.text == ids[at]
        row = list(run.queries.ids).index(ids[at])
        name = run.class_name(run.queries.labels[row])
        assert browser.one("[data-tip=label]").text == name
        # The canvas shows this image's thumbnail, enlarged.
        seen = browser.run(
            "[...document.querySelector('.tip canvas').getContext('2d')"
            ".getImageData(0, 0, 96, 96).data]"
        )
        shown = np.reshape(seen, (96, 96, 4))[6::12, 6::12, 0]
        assert np.abs(shown - run.queries.picture(row)[..., 0].astype(int)).max() < 12
    reached = []
    for key in (Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ARROW_RIGHT, Keys.ARROW_DOWN):
        stage.send_keys(key)
        reached.append(tip.text)
    assert set(reached) <= set(ids) and len(set(reached)) > 1

    browser.click("[data-layer=pca]")
    layers = {e.get_attribute("data-method"): e for e in browser.all(".layer")}
    assert layers["pca"].is_displayed() and not layers["tsne"].is_displayed()
    full = f"{points}.filter(use => use.style.opacity != 0.06).length"
    browser.click("[data-class='1']")
    assert browser.run(full) == (run.queries.labels == 1).sum()
    browser.click("[data-class='1']")
    browser.click("[data-wrong]")
    wrong = browser.run(
        "JSON.parse(document.getElementById('run0-map-data').text)"
        ".right.filter(right => right === 0).length"
    )
    assert 0 < browser.run(full) == wrong < 30


def test_a_comparison_turns_from_run_to_run(browser, compared):
    for width in (DESK, PHONE):
        browser.open(compared, width)
        assert browser.run("document.documentElement.scrollWidth") == width
    browser.screenshot("comparison")
    assert browser.one("#run0").is_displayed()
    browser.click("#run1-tab")
    assert browser.one("#run1").is_displayed()
    assert not browser.one("#run0").is_displayed()
    browser.driver.execute_script(
        "document.querySelector('nav a[href=\"#run0\"]').click()"
    )
    assert browser.one("#run0").is_displayed()


LONG = "W" * 250
RIGHT_TO_LEFT = "נעל", "תיק"


@pytest.fixture(scope="module")
def hostile(make_shared_run):
    """Pages of one run, and of two: with long names, and names read leftwards."""
    make = make_shared_run
    paths = []
    for name, seed in ((f"run_{'x' * 240}", 0), ("ריצה 7", 0)):
        path = make(name, queries=30, width=0.9, seed=seed, temperature=0.1)
        paths.append(path)
        for part in ("gallery", "queries"):
            with np.load(path / f"{part}.npz") as archive:
                arrays = dict(archive)
            names = ["y" * [3, 240][row % 2] for row in range(len(arrays["ids"]))]
            ids = [f"{part}/{name}{row}.png" for row, name in enumerate(names)]
            arrays["ids"] = np.array(ids)
            if part == "gallery":
                arrays["class_names"] = np.array([LONG, *RIGHT_TO_LEFT])
            np.savez(path / f"{part}.npz", **arrays)
    make.add_positives(paths[0])
    pages = {}
    for count, file in ((1, "one.html"), (2, "two.html")):
        pages[count] = make.folder / file
        page = build_page(read_runs(paths[:count]), ("pca",))
        pages[count].write_text(page, encoding="utf-8")
    return pages


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("count", [1, 2])
def test_unbroken_names_do_not_widen_the_page(browser, hostile, count, width):
    browser.open(hostile[count], width)
    assert browser.run("document.documentElement.scrollWidth") == width
    browser.driver.execute_script(
        "for (const each of document.querySelectorAll('details')) each.open = true"
    )
    assert browser.run("document.documentElement.scrollWidth") == width
    # Nor is any of it beyond the window where nothing scrolls.
    outside = browser.run(
        """[...document.querySelectorAll("main *")].filter(each => {
          if (each.closest(".scroll, svg, .hidden, .caption, .nopicture")) return false;
          return each.getBoundingClientRect().right > innerWidth + 1;
        }).map(each => each.outerHTML.slice(0, 80))"""
    )
    assert not outside


def test_names_that_are_read_leftwards_turn_nothing_around(browser, hostile):
    browser.open(hostile[1], DESK)
    turned = browser.run(
        """[...document.querySelectorAll(".confused p")].map(each => {
          const [first, second] = [...each.querySelectorAll("strong")].map(
            name => name.getBoundingClientRect());
          return [each.textContent, first.top === second.top, first.left < second.left];
        }).filter(([text]) => !text.includes("W"))"""
    )
    assert turned and all(same and right for _, same, right in turned), turned
    # "Look out" stands after the run's name.
    browser.open(hostile[2], DESK)
    places = browser.run(
        """[...document.querySelectorAll(".note strong")].slice(1).map(each => {
          const range = document.createRange();
          range.selectNode(each.lastChild);
          return [each.querySelector("bdi").getBoundingClientRect().left,
                  range.getBoundingClientRect().left];
        })"""
    )
    assert places and all(name < words for name, words in places)
    said = browser.one("#agreement").get_attribute("textContent")
    assert "\u2068ריצה 7\u2069 on " in said


def test_tables_show_that_they_go_on(browser, hostile):
    browser.open(hostile[2], PHONE)
    state = """[...document.querySelectorAll(".scroll")].filter(
      each => each.offsetParent).map(each => [
        each.scrollWidth > each.clientWidth + 1, each.classList.contains("goes-on"),
        getComputedStyle(each).maskImage !== "none",
        getComputedStyle(each.nextElementSibling).display !== "none" &&
          each.nextElementSibling.textContent.includes("goes on to the side")])"""
    found = browser.run(state)
    assert any(each[0] for each in found) and not all(each[0] for each in found)
    assert all(len(set(each)) == 1 for each in found), found
    browser.driver.execute_script(
        "for (const each of document.querySelectorAll('.scroll')) each.scrollLeft = 1e5"
    )
    browser.driver.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => setTimeout(done))"
    )
    assert not any(goes_on for _, goes_on, _, _ in browser.run(state))


def test_lines_on_each_other_are_all_seen(browser, tmp_path, hostile):
    x, y = np.arange(40.0), np.cos(np.arange(40) / 9)
    for count in (2, 3):
        lines = [(f"run {number}", number, x, y) for number in range(count)]
        svg = figures.curves("curve", lines, "Curves.")
        assert svg.count("stroke-dasharray") >= count - 1
        style = hostile[1].read_text("utf-8").split("<style>")[1].split("</style>")[0]
        page = tmp_path / f"{count}.html"
        page.write_text(f"<style>{style}</style><body>{svg}", encoding="utf-8")
        browser.open(page, DESK)
        pixels = browser.screenshot(f"lines-{count}")[300:].astype(int)
        colors = browser.run(
            "['--s0', '--s1', '--s2'].map(name => "
            "getComputedStyle(document.body).getPropertyValue(name))"
        )
        seen = []
        for color in colors[:count]:
            color = [int(color.strip()[at : at + 2], 16) for at in (1, 3, 5)]
            seen.append(int((np.abs(pixels - color).max(-1) < 12).sum()))
        assert min(seen) > 0.1 * sum(seen), seen
