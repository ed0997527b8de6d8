"""A headless Chromium for tests of pages.

Needs Debian's packages chromium and chromium-driver.
"""

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
NEEDS_CHROMIUM = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no chromium with its chromedriver"
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--hide-scrollbars"
)
PHONE, DESK = 390, 1280
# Everything that Tab has to reach, in the document's order, and what it did reach: how
# each looks once it has the focus. A file's field that is not seen lends its label the
# focus; only what scrolls may be reached besides.
_WATCH_FOCUS = """
document.documentElement.style.scrollBehavior = "auto"; // at once, not by and by
const first = document.createElement("span"); // Tab goes on from where it was
first.tabIndex = -1;
document.body.prepend(first);
first.focus();
first.remove();
window.stops = [];
window.wanted = [...document.querySelectorAll(
  "a[href], button, input, select, textarea, summary, [tabindex], [contenteditable]"
)].filter(each => each.tabIndex >= 0 && !each.disabled && each.checkVisibility({
  visibilityProperty: true, contentVisibilityAuto: true}));
window.noted = event => {
  const each = event.target, label = each.closest("label");
  const shown = each.matches("[type=file]") && label ? label : each;
  const style = getComputedStyle(shown), box = shown.getBoundingClientRect();
  stops.push([each, {
    what: each.outerHTML.slice(0, 90),
    outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight &&
      box.right > 0 && box.left < innerWidth,
    size: [box.width, box.height],
    scrolls: each.scrollWidth > each.clientWidth ||
      each.scrollHeight > each.clientHeight,
  }]);
};
document.addEventListener("focusin", noted);
"""


class Browser:
    """A headless Chromium with one page open."""

    def __init__(self, folder):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in [*FLAGS.split(), f"--user-data-dir={folder / 'profile'}"]:
            options.add_argument(flag)
        service = webdriver.ChromeService(DRIVER)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.folder = folder

    def open(self, page, width=DESK, dark=False):
        """Shows a page: a URL, or the path of a file."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": 844,
                "deviceScaleFactor": 1,
                "mobile": width == PHONE,
            },
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [scheme]}
        )
        self.driver.get(page if isinstance(page, str) else page.as_uri())

    def all(self, selector):
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        (found,) = self.all(selector)
        return found

    def click(self, selector):
        element = self.one(selector)
        self.driver.execute_script(
            "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})",
            element,
        )
        element.click()

    def run(self, script, *arguments):
        return self.driver.execute_script(f"return {script}", *arguments)

    def tab_through(self):
        """Goes through the page by Tab, from its beginning to its end.

        Returns:
            `(stops, missed)`: elements that took the focus, each with what it looked
            like then, and the HTML of those that Tab should reach and did not, or not
            in the document's order.
        """
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        self.driver.execute_script(_WATCH_FOCUS)
        keys = ActionChains(self.driver, duration=0)
        for _ in range(self.run("wanted.length") + 5):  # the last one, and out
            keys.send_keys(Keys.TAB)
        keys.perform()
        stops = self.run(
            "(document.removeEventListener('focusin', noted), "
            "stops.slice(0, 1 + stops.findIndex(each => "
            "each[0] === wanted[wanted.length - 1])))"
        )
        missed = self.run(
            "(() => {const order = stops.map(each => each[0]); let last = -1;"
            "return wanted.filter(each => {const at = order.indexOf(each);"
            "const wrong = at <= last; last = Math.max(at, last); return wrong;})"
            ".map(each => each.outerHTML.slice(0, 90));})()"
        )
        return stops, missed

    def check_tabs(self, most_names=40):
        """Asserts that Tab reaches all, in order, seen, outlined and with a name."""
        stops, missed = self.tab_through()
        assert stops and not missed, missed
        wanted = self.run("wanted")
        for element, look in stops:
            assert element in wanted or look["scrolls"], look
            assert look["seen"] and (look["outline"] or element not in wanted), look
        for element, look in stops[:most_names]:
            assert element.accessible_name, look
        return stops

    def screenshot(self, name):
        """Takes a picture of the whole page; returns its pixels."""
        width, height = self.run(
            "[document.documentElement.clientWidth, "
            "document.documentElement.scrollHeight]"
        )
        taken = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot",
            {
                "captureBeyondViewport": True,
                "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
            },
        )
        content = base64.b64decode(taken["data"])
        (self.folder / f"{name}.png").write_bytes(content)
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
