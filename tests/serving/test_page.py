"""The page on `/`: what it serves, and in headless Chromium what it does."""

import io
import json

import digits as digit_model
import numpy as np
import pytest
import requests
from browser import DESK, NEEDS_CHROMIUM, PHONE, Browser
from digits import NAMES, K
from PIL import Image

from tfembed.serving import Client, LocalServer, open_image_metadata
from tfembed.serving.gallery_sample import COUNT

WAIT = 20
# How many elements stand out of the window to the right, though nothing scrolls.
OUTSIDE = (
    "[...document.querySelectorAll('main *, header *')].filter(each => "
    "!each.matches('option') && !each.closest('.sample .label') && "
    "each.getBoundingClientRect().right > innerWidth + 1).length"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images to choose: a digit in several formats, noise, and no image."""
    folder = tmp_path_factory.mktemp("files")
    image = Image.fromarray(digit_model.load()[0][1300][..., 0])
    for ending in ("png", "bmp", "webp"):
        image.save(folder / f"digit.{ending}", lossless=True)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    (folder / "junk.png").write_bytes(b"junk")
    (folder / "junk.webp").write_bytes(b"junk")
    return folder


@pytest.fixture(scope="module")
def searched(digit_server, files):
    """What the client is answered for the digit."""
    with Client(digit_server.rest_address, name="digits") as client:
        return client.search(files / "digit.png")


def test_files_and_their_headers(digit_server):
    kinds = {
        "": "text/html",
        "page/page.css": "text/css",
        "page/page.js": "text/javascript",
        "page/icon.svg": "image/svg+xml",
        "page/models.json": "application/json",
        "page/gallery.json?name=digits": "application/json",
        "card.json?name=digits": "application/json",
    }
    for path, kind in kinds.items():
        answer = requests.get(f"{digit_server.rest_address}/{path}", timeout=30)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(kind)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    page = requests.get(digit_server.rest_address, timeout=30).text
    assert "style=" not in page and "onclick" not in page
    answer = requests.post(f"{digit_server.rest_address}/", timeout=30)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert requests.head(digit_server.rest_address, timeout=30).content == b""


def test_pictures(digit_server):
    url = f"{digit_server.rest_address}/page/picture"
    images, ids = digit_model.load()[0], digit_model.ids()
    for row in (0, 1, 2, 699):
        asked = {"name": "digits", "id": ids[row]}
        answer = requests.get(url, asked, timeout=30)
        assert answer.headers["Content-Type"] == "image/png"
        shown = np.asarray(Image.open(io.BytesIO(answer.content)))
        np.testing.assert_array_equal(shown, images[row][..., 0])
        small = requests.get(url, {**asked, "side": "0" * 12 + "8"}, timeout=30)
        assert Image.open(io.BytesIO(small.content)).size == (8, 8)
    for asked, status, said in (
        ({"name": "digits", "id": "absent"}, 404, "no picture of 'absent'"),
        ({"name": "digits", "id": "../a\0b"}, 404, "no picture"),
        ({"name": "bare", "id": ids[0]}, 404, "no picture"),
        ({"name": "digits"}, 404, "no picture"),
        ({"name": "digits", "id": ids[0], "side": "0"}, 400, "`side` must be"),
        ({"name": "digits", "id": ids[0], "side": "9" * 5000}, 400, "`side` must be"),
        (
            {"name": "digits", "id": ids[0], "side": "0" * 8 + "19999"},
            400,
            "`side` must",
        ),
    ):
        answer = requests.get(url, asked, timeout=30)
        assert answer.status_code == status and said in answer.json()["error"]


def test_pictures_from_a_folder_stay_in_it(model_dir, tmp_path):
    (tmp_path / "in" / "set").mkdir(parents=True)
    picture = Image.new("RGB", (5, 4), (10, 20, 30))
    picture.save(tmp_path / "in" / "set" / "a.png")
    picture.save(tmp_path / "out.png")
    with LocalServer(model_dir, images=tmp_path / "in", port=0, rest_port=0) as server:
        url = f"{server.rest_address}/page/picture"
        for name, status in (
            ("set/a.png", 200),
            ("../out.png", 404),
            (str(tmp_path / "out.png"), 404),
            ("set", 404),
            ("a\0b", 404),
            ("a" * 5000, 404),
        ):
            asked = {"name": "model", "id": name}
            assert requests.get(url, asked, timeout=30).status_code == status, name
        # A model that no export wrote has no gallery.
        url = f"{server.rest_address}/page/gallery.json"
        found = requests.get(url, {"name": "model"}, timeout=30).json()
        assert found == {"images": [], "missing": None}
    with pytest.raises(ValueError, match="`images` must be"):
        LocalServer(model_dir, images=tmp_path / "absent")


def test_which_pictures_it_begins_with(digit_server):
    url = f"{digit_server.rest_address}/page/gallery.json"
    found = requests.get(url, {"name": "digits"}, timeout=30).json()
    assert found["missing"] is None and len(found["images"]) == COUNT
    ids, labels = digit_model.ids().tolist(), digit_model.load()[1]
    rows = [ids.index(each["id"]) for each in found["images"]]
    assert rows == sorted(set(rows))
    assert [each["label"] for each in found["images"]] == [
        NAMES[labels[r]] for r in rows
    ]
    assert {each["label"] for each in found["images"]} == set(NAMES)
    bare = requests.get(url, {"name": "bare"}, timeout=30).json()
    assert bare == {"images": [], "missing": None}
    assert requests.get(url, {"name": "absent"}, timeout=30).status_code == 404


def said_of(ids):
    """What the list says of digits, as it is told."""
    rows = [digit_model.ids().tolist().index(each) for each in ids]
    columns = digit_model.metadata()
    return [
        {name: texts[row] for name, texts in columns.items() if texts[row]}
        for row in rows
    ]


def test_what_else_is_said_of_images(digit_server, digits, tmp_path):
    url = f"{digit_server.rest_address}/page/metadata.json"
    ids = digit_model.ids()[[0, 1, 2, 3, 699]].tolist()
    found = requests.get(url, {"name": "digits", "id": ids}, timeout=30).json()
    assert found["metadata"] == said_of(ids) and found["metadata"][-1] == {}
    absent = {"name": "bare", "id": ["absent", ids[3], "a\0b"]}
    found = requests.get(url, absent, timeout=30).json()
    assert found["metadata"] == [{}, *said_of(ids[3:4]), {}]
    assert requests.get(url, {"name": "bare"}, timeout=30).json() == {"metadata": []}
    # A program looks it up in the version's folder.
    for folder in (digits / "models", digits / "models" / "1"):
        assert open_image_metadata(folder)(ids) == said_of(ids)
    with pytest.raises(ValueError, match="must hold versions"):
        open_image_metadata(tmp_path)
    url = f"{digit_server.rest_address}/card.json"
    card = requests.get(url, {"name": "digits"}, timeout=30).json()
    assert card["gallery"]["metadata"] == list(digit_model.metadata())


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    log = browser.driver.get_log("browser")
    browser.driver.quit()
    # A question that the server refuses is told by the browser too.
    errors = [each for each in log if each["level"] == "SEVERE"]
    assert not [each for each in errors if ":predict" not in each["message"]], errors


def until(browser, script):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser.driver, WAIT, 0.05).until(lambda _: browser.run(script))


def choose(browser, path):
    """Chooses a file, and waits for the answer or for the error."""
    browser.one("#file").send_keys(str(path))
    until(browser, "document.getElementById('query-name').textContent !== ''")
    until(browser, "!document.querySelector('[aria-busy]')")


def texts(browser, selector):
    return [each.text for each in browser.all(selector)]


@pytest.fixture
def page(digit_server, browser):
    """The page, opened at a width, with the model that has pictures."""
    from selenium.webdriver.support.ui import Select

    def show(width=DESK, dark=False, name="digits"):
        browser.open(digit_server.rest_address + "/", width, dark)
        until(browser, "document.getElementById('facts').textContent !== ''")
        Select(browser.one("#model")).select_by_visible_text(name)
        until(browser, "document.getElementById('facts').textContent !== ''")
        return browser

    return show


@NEEDS_CHROMIUM
@pytest.mark.parametrize(("width", "dark"), [(PHONE, True), (DESK, False)])
def test_it_shows_what_the_client_is_told(
    page, files, searched, digit_server, width, dark
):
    browser = page(width, dark)
    choose(browser, files / "digit.png")
    assert texts(browser, "#neighbours .id") == searched.ids[0, :10].tolist()
    assert texts(browser, "#neighbours .label") == searched.labels[0, :10].tolist()
    scores = [f"{score:.3f}" for score in searched.scores[0, :10]]
    assert texts(browser, "#neighbours .score") == scores
    assert browser.one("#vote").text == searched.vote[0]
    share = f"{100 * searched.vote_probability[0]:.0f} %"
    url = digit_server.rest_address + "/card.json"
    card = requests.get(url, {"name": "digits"}, timeout=30).json()
    voters = min(card["vote"]["k"], card["gallery"]["size"])
    of = f" of the weight of the {voters:,} nearest images"
    assert browser.one("#share-text").text == share + of
    assert browser.one("#known").text.startswith("Known: the nearest scores")
    status = browser.one("#status")
    assert status.text.startswith("10 neighbours. The nearest is")
    assert status.get_attribute("aria-live") == "polite"
    assert browser.run("document.documentElement.scrollWidth") == width
    until(
        browser,
        "[...document.images].every(each => each.loading === 'lazy' || "
        "each.complete && each.naturalWidth)",
    )
    browser.screenshot(f"page-{width}")
    small = browser.run(
        "[...document.querySelectorAll('button, select, input, summary, .drop')]"
        ".filter(each => each.offsetParent && each.type !== 'file' && "
        "each.getBoundingClientRect().height < 40).length"
    )
    assert small == 0  # a thumb can hit them


@NEEDS_CHROMIUM
def test_the_command_it_shows_is_right(page, files, searched):
    import subprocess

    browser = page()
    choose(browser, files / "digit.png")
    browser.click("#by-hand summary")
    command = browser.one("#command").text.replace("IMAGE", str(files / "digit.png"))
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60)
    if b"not found" in done.stderr:
        pytest.skip("there is no curl or no base64")
    assert json.loads(done.stdout)["outputs"]["ids"] == searched.ids.tolist()


@NEEDS_CHROMIUM
def test_k_is_cut_in_the_page(page, files, searched):
    from selenium.webdriver.common.keys import Keys

    browser = page()
    choose(browser, files / "digit.png")
    field = browser.one("#k")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("3")
    assert texts(browser, "#neighbours .id") == searched.ids[0, :3].tolist()
    field.send_keys("0")
    assert f"at most {K}" in browser.one("#status").text
    assert len(browser.all("#neighbours li")) == K
    field.send_keys(Keys.TAB)
    assert field.get_attribute("value") == str(K)


@NEEDS_CHROMIUM
def test_a_neighbour_is_searched_from_by_keyboard(page, files, searched):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = page(PHONE)
    choose(browser, files / "digit.png")
    browser.driver.execute_script("document.getElementById('model').focus()")
    focus = []
    for _ in range(5):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        active = browser.driver.switch_to.active_element
        focus.append(active.get_attribute("id") or active.get_attribute("class"))
    assert focus == ["file", "k", "tile", "tile", "tile"]
    chosen = browser.driver.switch_to.active_element
    name = chosen.find_element("css selector", ".id").text
    assert name == searched.ids[0, 2]
    chosen.send_keys(Keys.ENTER)
    until(browser, f"document.getElementById('query-name').textContent === '{name}'")
    until(browser, "!document.querySelector('[aria-busy]')")
    assert texts(browser, "#neighbours .id")[0] == name
    assert texts(browser, "#neighbours .score")[0] == "1.000"
    assert "the image itself" in texts(browser, "#neighbours li")[0]
    assert browser.run("document.activeElement.id") == "answer-title"
    browser.click("#back")
    until(browser, "document.getElementById('query-name').textContent === 'digit.png'")
    until(browser, "!document.querySelector('[aria-busy]')")
    assert texts(browser, "#neighbours .id")[0] == searched.ids[0, 0]
    assert not browser.one("#back").is_displayed()


def settled(browser, name):
    """Waits for the answer to what has that name."""
    until(browser, f"at('query-name').textContent === {json.dumps(str(name))}")
    until(browser, "!document.querySelector('[aria-busy]')")


@NEEDS_CHROMIUM
@pytest.mark.parametrize(("width", "dark"), [(PHONE, True), (DESK, False)])
def test_it_begins_with_pictures_by_keyboard(page, digit_server, width, dark):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = page(width, dark)
    url = f"{digit_server.rest_address}/page/gallery.json"
    sample = requests.get(url, {"name": "digits"}, timeout=30).json()["images"]
    assert browser.one("#start").is_displayed()
    assert texts(browser, "#samples .label") == [each["label"] for each in sample]
    loaded = "[...document.images].filter(each => each.offsetParent && each.complete &&"
    until(browser, f"{loaded} each.naturalWidth).length === {COUNT}")
    lazy = browser.run("[...document.images].filter(e => e.loading === 'lazy').length")
    assert lazy == COUNT
    # No more was asked for than what is shown.
    asked = browser.run("performance.getEntriesByType('resource').map(e => e.name)")
    assert len([each for each in asked if "/page/picture" in each]) == COUNT
    assert browser.run("document.documentElement.scrollWidth") == width
    browser.screenshot(f"start-{width}")

    def press(key):
        ActionChains(browser.driver).send_keys(key).perform()
        return browser.driver.switch_to.active_element

    browser.driver.execute_script("document.getElementById('k').focus()")
    for each in sample[:3]:
        active = press(Keys.TAB)
        assert active.get_attribute("title") == each["id"]
        assert each["id"] in active.accessible_name
        assert each["label"] in active.accessible_name
        assert browser.run("getComputedStyle(document.activeElement).outlineWidth") == (
            "3px"
        )
    press(Keys.ENTER)
    settled(browser, sample[2]["id"])
    assert texts(browser, "#neighbours .id")[0] == sample[2]["id"]
    assert not browser.one("#start").is_displayed()
    assert browser.run("document.activeElement.id") == "answer-title"
    browser.click("#neighbours li:nth-child(2) button")
    until(browser, "state.before.length === 2")
    until(browser, "!document.querySelector('[aria-busy]')")
    press(Keys.ESCAPE)
    settled(browser, sample[2]["id"])
    press(Keys.ESCAPE)
    assert browser.one("#start").is_displayed()
    assert not browser.one("#query").is_displayed()
    assert not browser.one("#back").is_displayed()
    assert not browser.all("#neighbours li")
    press(Keys.ESCAPE)  # there is no further back
    assert browser.one("#start").is_displayed()


@NEEDS_CHROMIUM
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_tab_reaches_everything_in_order(page, files, width):
    browser = page(width)
    at_first = len(browser.check_tabs())
    assert at_first == 3 + COUNT  # model, file, number of neighbours
    choose(browser, files / "digit.png")
    assert len(browser.check_tabs()) == 3 + 10 + 1  # the neighbours, the command
    browser.click("#by-hand summary")
    assert len(browser.check_tabs()) == 3 + 10 + 2


@NEEDS_CHROMIUM
def test_without_pictures_it_says_how_to_get_them(page):
    browser = page(PHONE, name="bare")
    assert not browser.one("#start").is_displayed()
    assert "start the server with --images" in browser.one("#no-pictures").text
    assert not browser.one("#other-pictures").is_displayed()
    browser.driver.execute_script(
        "state.sample = {images: [], missing: arguments[0]};"
        "model().pictures = true; home()",
        "<b>" + "W" * 250,
    )
    assert not browser.one("#no-pictures").is_displayed()
    said = browser.one("#other-pictures").text
    assert said.startswith("No pictures: none of those") and said.endswith("W.")
    assert browser.one("#missing").text == "<b>" + "W" * 250
    assert browser.run("document.documentElement.scrollWidth") == PHONE


@NEEDS_CHROMIUM
def test_bars_run_from_what_any_two_images_score(page, files, searched, digit_server):
    url = digit_server.rest_address + "/card.json"
    card = requests.get(url, {"name": "digits"}, timeout=30).json()
    mean = card["gallery"]["mean_cosine"]
    browser = page()
    choose(browser, files / "digit.png")
    shares = "[...document.querySelectorAll('.bar')].map(bar => " + (
        "bar.firstChild.getBoundingClientRect().width / bar.clientWidth)"
    )
    expected = (searched.scores[0, :10] - mean) / (1 - mean)
    np.testing.assert_allclose(browser.run(shares), expected, atol=0.01)
    said = browser.one("#scale").text
    assert f"from {mean:.3f}, the mean of any two images" in said and "to 1" in said
    assert not browser.one("#alike").is_displayed()

    def told(mean, lowest):
        """What is said where scores are from `lowest` on, and the mean is that."""
        browser.driver.execute_script(
            """const [mean, lowest] = arguments;
            state.card.gallery.mean_cosine = mean;
            const scores = state.answer.scores[0];
            scores.forEach((_, rank) => {
              scores[rank] = 1 - (1 - lowest) * rank / (scores.length - 1);
            });
            render();""",
            mean,
            lowest,
        )
        return browser.one("#alike").text

    # A card of an older export says nothing of the mean.
    assert told(None, 0.5) == ""
    assert browser.one("#scale").text.endswith("its bar runs from 0 to 1.")
    assert 0.5 < min(browser.run(shares)) < 0.7  # ten of the twelve
    said = told(0.12345, 0.995)
    assert said.startswith("All of these score 0.99 or more, while two images")
    assert "0.12345 on average" in said and "tell them apart" in said
    scores = texts(browser, "#neighbours .score")
    assert len(set(scores)) == 10 and all(len(each) == 7 for each in scores)
    said = told(0.95, 0.97)
    assert "0.950 on average. A score near 1 is nothing special" in said
    said = told(0.9987, 0.9999)
    assert "nearly alike" in said and "collapsed or was never trained" in said
    assert not browser.all(".bar") and not browser.one("#scale").is_displayed()
    browser.screenshot("alike")


@NEEDS_CHROMIUM
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_further_columns_stand_under_each_neighbour(page, files, searched, width):
    browser = page(width)
    choose(browser, files / "digit.png")
    until(browser, "document.querySelector('.fact')")
    tiles = browser.run(
        "[...document.querySelectorAll('#neighbours li')].map(tile => "
        "[...tile.querySelectorAll('.fact')].map(fact => fact.textContent))"
    )
    expected = [
        [f"{name} {text}" for name, text in said.items()]
        for said in said_of(searched.ids[0, :10])
    ]
    assert tiles == expected and any(len(each) == 2 for each in expected)
    # The rows 0 and 1 have more columns than a tile shows, one of them with markup.
    ids = digit_model.ids().tolist()
    browser.driver.execute_script("searchFrom(arguments[0])", ids[1])
    settled(browser, ids[1])
    until(browser, "document.querySelector('#query-facts dt')")
    said = said_of(ids[1:2])[0]
    shown = browser.run(
        "[...document.querySelectorAll('#query-facts > *')].map(e => e.textContent)"
    )
    assert shown == [each for pair in said.items() for each in pair]
    assert "<script>" in shown[3] and not browser.all("#query-facts script")
    first = browser.one("#neighbours li:first-child")
    assert len(first.find_elements("css selector", ".fact")) == 5
    assert "and 2 more" in first.text
    assert browser.run("document.documentElement.scrollWidth") == width
    browser.screenshot(f"columns-{width}")
    choose(browser, files / "noise.png")
    assert not browser.all("#query-facts > *")  # of a file nothing is said


@NEEDS_CHROMIUM
def test_hostile_ids_are_text(page, browser, digit_server, tmp_path):
    """The rows 1 and 2 of the gallery have ids that would be markup, or end a URL."""
    browser = page()
    for row in (1, 2):
        Image.fromarray(digit_model.load()[0][row][..., 0]).save(tmp_path / "own.png")
        choose(browser, tmp_path / "own.png")
        name = digit_model.ids()[row]
        assert texts(browser, "#neighbours .id")[0] == name
        assert not browser.all("#neighbours .id *")
        browser.click("#neighbours li:first-child button")
        shown = "document.getElementById('query-name').textContent"
        until(browser, f"{shown} === {json.dumps(str(name))}")
        until(browser, "!document.querySelector('[aria-busy]')")
        assert texts(browser, "#neighbours .score")[0] == "1.000"


@NEEDS_CHROMIUM
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_names_of_any_length_and_direction(page, files, width):
    """What a gallery of such names would be answered is put in the answer's place."""
    browser = page(width)
    choose(browser, files / "digit.png")
    long, leftwards = "W" * 250, "נעל 7"
    for label in (long, leftwards):
        browser.driver.execute_script(
            """const [label, long] = arguments;
            const found = state.answer.labels[0].length;
            state.answer.labels[0] = Array.from({length: found}, (_, at) => at % 3
              ? label : `${label} and some words`);
            state.answer.vote[0] = label;
            show({...state.query, name: `${long}.png`});
            const said = {[label]: long, [long]: label};
            state.facts = new Map(state.answer.ids[0].map(id => [id, said]));
            showFacts(said);
            at("model").options[0].text = long;
            render();
            for (const each of document.querySelectorAll("#neighbours .id")) {
              each.textContent = `${long}/${each.textContent}`;
            }""",
            label,
            long,
        )
        assert browser.run("document.documentElement.scrollWidth") == width
        assert browser.run(OUTSIDE) == 0
        browser.screenshot(f"names-{width}-{len(label)}")
        tallest = "Math.max(...[...document.querySelectorAll('.tile .label')].map("
        assert browser.run(tallest + "each => each.offsetHeight))") < 130
        tallest = "Math.max(...[...document.querySelectorAll('.tile')].map("
        assert browser.run(tallest + "each => each.offsetHeight))") < 560
        assert browser.run("at('query').offsetHeight") < 700
    status = browser.one("#status").get_attribute("textContent")
    browser.driver.execute_script(
        "for (const each of state.sample.images) each.label = arguments[0]; home()",
        long,
    )
    assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.run(OUTSIDE) == 0 and len(browser.all(".sample")) == COUNT
    browser.screenshot(f"names-{width}-start")
    assert f"\u2068{leftwards} and some words\u2069, score" in status


@NEEDS_CHROMIUM
def test_what_is_no_image_gets_a_sentence(page, files):
    browser = page()
    choose(browser, files / "junk.png")
    assert browser.one("#error").text.startswith("The model could not read this image.")
    assert browser.one("#error").get_attribute("role") == "alert"
    choose(browser, files / "junk.webp")
    assert browser.one("#error").text.startswith("This is no image")
    choose(browser, files / "noise.png")
    assert browser.one("#error").text == ""
    assert browser.one("#known").text.startswith("Not known: even the nearest")


@NEEDS_CHROMIUM
def test_other_formats_become_png(page, files, searched):
    browser = page()
    for ending in ("bmp", "webp"):
        choose(browser, files / f"digit.{ending}")
        assert texts(browser, "#neighbours .id") == searched.ids[0, :10].tolist()


@NEEDS_CHROMIUM
@pytest.mark.parametrize("way", ["paste", "drop"])
def test_pasted_and_dropped(page, files, searched, way):
    browser = page()
    content = list((files / "digit.png").read_bytes())
    data = "clipboardData" if way == "paste" else "dataTransfer"
    kind = "ClipboardEvent" if way == "paste" else "DragEvent"
    browser.driver.execute_script(
        f"""const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(arguments[0])], 'thrown.png',
          {{type: 'image/png'}}));
        document.body.dispatchEvent(new {kind}('{way}',
          {{{data}: files, bubbles: true, cancelable: true}}));""",
        content,
    )
    until(browser, "document.querySelectorAll('#neighbours li').length === 10")
    assert texts(browser, "#neighbours .id") == searched.ids[0, :10].tolist()
    assert browser.one("#query-name").text == "thrown.png"


@NEEDS_CHROMIUM
def test_another_model_is_asked(page, files, browser):
    from selenium.webdriver.support.ui import Select

    browser = page()
    choose(browser, files / "digit.png")
    assert browser.all("#neighbours button")
    Select(browser.one("#model")).select_by_visible_text("bare")
    until(browser, "document.querySelectorAll('#neighbours div.tile').length === 10")
    assert not browser.all("#neighbours button, #neighbours img")
    assert browser.one("#no-pictures").is_displayed()
    assert "/v1/models/bare:predict" in browser.one("#command").get_attribute(
        "textContent"
    )
    assert set(texts(browser, "#neighbours .label")) <= set(NAMES)


@NEEDS_CHROMIUM
def test_pictures_elsewhere_and_a_server_that_is_gone(digits, files, browser, tmp_path):
    with LocalServer(digits / "models", images=tmp_path, port=0, rest_port=0) as server:
        browser.open(server.rest_address + "/")
        until(browser, "document.getElementById('facts').textContent !== ''")
        assert not browser.one("#model").is_displayed()
        assert browser.one("#other-pictures").is_displayed()
        assert browser.one("#missing").text in digit_model.ids()
    choose(browser, files / "digit.png")
    assert browser.one("#error").text.startswith("The server does not answer.")
