"""The page in headless Chromium, clicked through, at the width of a phone and a desk.

Needs Debian's packages chromium and chromium-driver.
"""

import numpy as np
import pytest
from browser import DESK, NEEDS_CHROMIUM, PHONE, Browser

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
