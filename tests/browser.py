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
