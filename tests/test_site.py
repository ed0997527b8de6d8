"""The documentation site has every public symbol, with an example where it says so.

Its pages are made of the package by `docs/site/pages.py`. Building it needs the tools
of `constraints/site.txt`, laid over; without them the tests that build it are skipped.
"""

import doctest
import html.parser
import importlib
import inspect
import os
import re
import subprocess
import sys

import pytest
from shared import ROOT, loaded, written_once
from test_architecture import INNER, MAY_IMPORT

from tfembed import compat
from tfembed.recipes.config import build_parser

# Rooms in which every function and class has an example in its docstring.
WITH_EXAMPLES = [
    "backbones",
    "callbacks",
    "data",
    "export",
    "metrics",
    "miners",
    "serving",
    "training",
]
ROOMS = {f"tfembed.{name}" for name in MAY_IMPORT}


def site_pages():
    return loaded("docs/site/pages.py")


def public_rooms():
    """Rooms of the architecture's table that list names."""
    rooms = [f"tfembed.{name}" for name in MAY_IMPORT if name != "tfembed"]
    rooms = [room for room in rooms if room.partition(".")[2] not in INNER]
    return ["tfembed"] + [
        room for room in rooms if getattr(importlib.import_module(room), "__all__", [])
    ]


def public_names(room):
    """What a room's `__all__` lists, rooms excepted."""
    names = importlib.import_module(room).__all__
    return [name for name in names if f"{room}.{name}" not in ROOMS]


def lacks_example(value):
    """Whether a function or a class has no example in its own docstring."""
    if not (isinstance(value, type) or inspect.isroutine(value)):
        return False  # a constant: it has no docstring of its own
    return not doctest.DocTestParser().get_examples(value.__doc__ or "")


def test_every_public_room_has_a_page():
    assert sorted(site_pages().rooms()) == sorted(public_rooms())


@pytest.mark.parametrize("room", public_rooms())
def test_a_page_names_what_is_public(room):
    assert sorted(site_pages().symbols(room)) == sorted(public_names(room))


@pytest.mark.parametrize("room", WITH_EXAMPLES)
def test_every_public_symbol_has_an_example(room):
    """`test_examples_in_docstrings_run` of `test_docs.py` runs them."""
    module = importlib.import_module(f"tfembed.{room}")
    lacking = [name for name in module.__all__ if lacks_example(getattr(module, name))]
    assert lacking == []


def test_what_lacks_an_example_is_told():
    def without():
        """Says nothing."""

    def with_one():
        """Says it.

        >>> 1 + 1
        2
        """

    class Empty:
        """As `>>> 1` in a sentence, which nobody runs."""

    told = [lacks_example(each) for each in (without, with_one, Empty, (1, 2))]
    assert told == [True, False, True, False]


def test_the_flags_are_those_of_the_commands():
    """Each recipe's own parser has the flags and defaults that its tables say."""
    pages = site_pages()
    text = pages.flags_page()
    sections = dict(re.findall(r"(?ms)^## (.+?)\n(.*?)(?=^## |\Z)", text))
    shared = flags_of(sections.pop("Of every recipe"))
    assert set(sections) == set(pages.recipes())
    for name, section in sections.items():
        section, _, presets = section.partition("`--preset`")
        real = flags_and_defaults(pages.recipes()[name].Config)
        for preset in real.pop("--preset", ()):
            assert f"| `{preset}` |" in presets
        assert {**shared, **flags_of(section)} == real


def flags_of(section):
    """`{flag: default}` of the tables of a section."""
    return dict(re.findall(r"(?m)^\| `(--[\w-]+)` \| `?(.*?)`? \|", section))


def flags_and_defaults(config):
    """`{flag: default}` as the parser of a recipe has them, `--help` tells defaults."""
    found = {}
    for action in build_parser(config, "tfembed.recipes.any", "")._actions:
        flag = action.option_strings[0]
        default = re.search(r"\(default: (.*)\)$", action.help)
        found[flag] = default.group(1) if default else ""
        if flag == "--preset":
            found[flag] = action.choices
    for name in ("-h", "--run-dir", "--config"):
        del found[name]
    return {
        flag: value.lower() if value in ("True", "False") else value
        for flag, value in found.items()
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not compat.KERAS_3:
        pytest.skip("the site is of the other stack")
    if sys.version_info < (3, 11):
        pytest.skip("mkdocstrings for this Python is not to be had on this machine")
    for tool in ("mkdocs", "material", "mkdocstrings_handlers"):
        pytest.importorskip(tool, reason="needs the tools of constraints/site.txt")

    def build(folder):
        done = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],
            cwd=ROOT,
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode == 0, done.stderr[-5000:]

    return written_once(tmp_path_factory, "site", build)


class Page(html.parser.HTMLParser):
    """What a page loads, and its headings."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.headings, self._open = [], [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in ("script", "img", "iframe"):
            self.loads.append(attributes.get("src"))
        if tag == "link" and attributes.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.append(attributes.get("href"))
        if tag == "h2":
            self._open = True
            self.headings.append("")

    def handle_endtag(self, tag):
        if tag == "h2":
            self._open = False

    def handle_data(self, data):
        if self._open:
            self.headings[-1] += data


@pytest.mark.parametrize("room", public_rooms())
def test_the_reference_has_every_public_symbol(site, room):
    page = Page(site / site_pages().room_path(room).replace(".md", ".html"))
    headings = {heading.strip(" \n¶") for heading in page.headings}
    assert set(public_names(room)) <= headings


def test_every_document_is_a_page(site):
    names = [path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")]
    names = [name for name in names if name.name != "losses.template.md"]
    assert names
    for name in names:
        assert (site / name).with_suffix(".html").is_file()


def test_nothing_is_loaded_from_another_host(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for path in pages:
        for address in filter(None, Page(path).loads):
            assert not re.match(r"(\w+:)?//", address), f"{path}: {address}"
            if path.name != "404.html" and not address.startswith("data:"):
                assert (path.parent / address.partition("?")[0]).is_file(), address
    for path in site.rglob("*.css"):
        found = re.findall(r"url\(['\"]?((?:https?:)?//[^)]+)", path.read_text())
        assert not found, path
