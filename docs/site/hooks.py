"""What MkDocs builds the site of: which files are pages, and where links lead.

Paths in the site are those of the repository, so that a link that works on a git host
works here: pages are its Markdown files, and what they link to is copied beside them.
Links to folders are the one exception: they lead to the page about the folder, or are
no links. The reference and the flags are pages that no file has (`pages.py`).
"""

import importlib.util
import posixpath
import re
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("*.md", "docs/*.md", "*/README.md", "export/*.md", "tests/conformance/*.md")
NO_PAGES = {"docs/losses.template.md"}
# A folder that the texts link to, and the page about it.
FOLDERS = {"constraints": "CONTRIBUTING.md", "tfembed/recipes": "reference/recipes.md"}
LINK = re.compile(r"(\]\(|(?:src|href)=\")([^()\s\"#]+)([^()\s\"]*)(\)|\")")


def _import_pages():
    spec = importlib.util.spec_from_file_location(
        "tfembed_site_pages", Path(__file__).with_name("pages.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _make_beam_importable():
    """Lets `tfembed.interop` be imported, and read, where there is no Apache Beam."""
    if importlib.util.find_spec("apache_beam"):
        return
    beam = mock.MagicMock(spec=ModuleType("apache_beam"))
    beam.PTransform = type("PTransform", (), {})
    beam.DoFn = type("DoFn", (), {})
    for name in ("io.filesystems", "options.pipeline_options", "utils.shared"):
        sys.modules[f"apache_beam.{name}"] = mock.MagicMock()
    sys.modules["apache_beam"] = beam


sys.path.insert(0, str(ROOT))
_make_beam_importable()
pages = _import_pages()


def on_config(config):
    """Adds the reference to the navigation."""
    rooms = [{room: pages.room_path(room)} for room in pages.rooms()]
    config.nav.append({"Reference": [{"Flags of the recipes": pages.FLAGS}, *rooms]})
    return config


def on_files(files, config):
    """Takes the pages from the whole repository, and what they link to."""
    for file in [each for each in files if each.src_dir == config.docs_dir]:
        files.remove(file)
    found = {
        path.relative_to(ROOT).as_posix(): path
        for pattern in PAGES
        for path in sorted(ROOT.glob(pattern))
    }
    for name in NO_PAGES:
        del found[name]
    linked = {"docs/site/site.css"}
    for name, path in found.items():
        for link in LINK.findall(path.read_text(encoding="utf-8")):
            target = _target(name, link[1])
            if target and (ROOT / target).is_file():
                linked.add(target)
    for name in sorted(linked | set(found)):
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    made = {**pages.reference(), pages.FLAGS: pages.flags_page()}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Lets links to folders lead to the pages about them."""
    here = page.file.src_uri

    def replaced(found):
        begin, path, anchor, end = found.groups()
        target = _target(here, path)
        if target is None or not (ROOT / target).is_dir():
            return found.group()
        page_of = FOLDERS.get(target, f"{target}/README.md")
        start = posixpath.dirname(here) or "."
        return f"{begin}{posixpath.relpath(page_of, start)}{anchor}{end}"

    return LINK.sub(replaced, markdown)


def _target(page, link):
    """Returns a link's path from the repository's root, or `None` of an address."""
    if re.match(r"[a-z]+:", link):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
