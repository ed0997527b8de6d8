"""The page on `/` of the local server, and what it needs: models, cards, pictures."""

import io
import json
import os
from pathlib import Path

import numpy as np
from werkzeug.wrappers import Request, Response

from tfembed.formats.image_metadata import read_metadata
from tfembed.serving.address import CARD_PATH
from tfembed.serving.gallery_sample import GallerySamples
from tfembed.serving.status import HTTP_STATUS, StatusError, invalid_argument
from tfembed.serving.thumbnails import open_thumbnails

FOLDER = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LARGEST_SIDE = 4096


def pages(models, hosts, images=None):
    """Returns what answers at each path of the page.

    - `/` and the files below `/page/`: the page itself;
    - `/page/models.json`: the names of the models, and whether there are pictures;
    - `/page/gallery.json?name=MODEL`: some pictures of the gallery to begin with;
    - `/page/metadata.json?name=MODEL&id=ID[&id=ID...]`: what else is said of images;
    - `/page/picture?name=MODEL&id=ID[&side=PIXELS]`: a gallery image as PNG, no larger
      than that;
    - `/card.json?name=MODEL[&version=NUMBER|&label=LABEL]`: what the export says of
      itself.

    Args:
        models: The `Models` that are served.
        hosts: The `AllowedHosts`; who asks under another name is refused.
        images: Where the gallery's pictures are: a path for all models, or a dictionary
            of a model's name to one; see `open_thumbnails`. None has no pictures.

    Returns:
        Dictionary of path to WSGI application.

    Raises:
        ValueError: If a path of `images` is not what it should be.
    """
    if images is not None and not isinstance(images, dict):
        shared = open_thumbnails(images)
        find = lambda name: shared  # noqa: E731
    else:
        find = {
            name: open_thumbnails(path) for name, path in (images or {}).items()
        }.get
    answers = {path: _file(*file) for path, file in _FILES.items()}
    answers["/page/models.json"] = lambda asked: _models(models, find)
    samples = GallerySamples()
    answers["/page/gallery.json"] = lambda asked: _sample(models, find, samples, asked)
    answers["/page/metadata.json"] = lambda asked: _metadata(models, asked)
    answers["/page/picture"] = lambda asked: _picture(find, asked)
    answers[CARD_PATH] = lambda asked: _card(models, asked)
    return {path: _Answer(answer, hosts) for path, answer in answers.items()}


class _Answer:
    """A WSGI application that answers GET and HEAD.

    Args:
        answer: Function of the arguments of the URL that returns the body and its type.
        hosts: The `AllowedHosts`.
    """

    def __init__(self, answer, hosts):
        self._answer = answer
        self._hosts = hosts

    def __call__(self, environ, start_response):
        request = Request(environ)
        status, headers = 200, dict(_HEADERS)
        try:
            self._check_host(environ.get("HTTP_HOST"))
            if request.method not in ("GET", "HEAD"):
                headers["Allow"] = "GET, HEAD"
                status = 405
                body, kind = _error("Only GET and HEAD are answered here.")
            else:
                body, kind = self._answer(request.args)
        except StatusError as error:
            status = HTTP_STATUS.get(error.code, 500)
            body, kind = _error(error.message)
        response = Response(body, status, headers, content_type=kind)
        return response(environ, start_response)

    def _check_host(self, header):
        if not self._hosts.allows(header):
            received = "none" if header is None else repr(header[:200])
            raise StatusError(
                "PERMISSION_DENIED",
                "The page and its pictures must be asked for by the name or address "
                f"of this server, such as localhost. Received: the header Host, "
                f"{received}. If that is a name of this server, start it with "
                "--allowed-host NAME.",
            )


def _file(name, kind):
    content = (FOLDER / name).read_bytes()
    return lambda asked: (content, kind)


def _models(models, find):
    listed = [
        {"name": name, "pictures": find(name) is not None} for name in models.names()
    ]
    return _json({"models": listed})


def _sample(models, find, samples, asked):
    """Names some pictures of the gallery, of the version that is asked by default."""
    name = asked.get("name", "")
    with models.use(name, None, None) as servable:
        pictures = find(name)
        if pictures is None:
            return _json({"images": [], "missing": None})
        return _json(samples.of(servable, pictures))


def _metadata(models, asked):
    """Tells what is said of images, of the version that is asked by default."""
    with models.use(asked.get("name", ""), None, None) as servable:
        try:
            found = read_metadata(servable.path, asked.getlist("id"))
        except (ImportError, ValueError) as error:
            raise StatusError("INTERNAL", str(error)) from error
    return _json({"metadata": found})


def _card(models, asked):
    """Reads the card of the version that a request of these arguments would get."""
    version = asked.get("version")
    if version is not None:
        if not version.isdecimal() or len(version) > 18:
            raise invalid_argument(f"Failed to convert version: {version} to numeric.")
        version = int(version)
    with models.use(asked.get("name", ""), version, asked.get("label")) as servable:
        path = os.path.join(servable.path, "card.json")
    try:
        with open(path, encoding="utf-8") as file:
            return _json(json.load(file))
    except (OSError, ValueError) as error:
        raise StatusError(
            "NOT_FOUND",
            f"There is no card.json that can be read in {os.path.dirname(path)}",
        ) from error


def _picture(find, asked):
    """Returns a gallery image as PNG."""
    from PIL import Image

    open_picture, name = find(asked.get("name", "")), asked.get("id", "")
    try:
        pixels = open_picture(name) if open_picture is not None and name else None
    except (OSError, ValueError):  # no file has such a name
        pixels = None
    if pixels is None:
        raise StatusError("NOT_FOUND", f"There is no picture of {name!r}")
    pixels = np.asarray(pixels, np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    side = asked.get("side", str(_LARGEST_SIDE))
    digits = side.lstrip("0")
    if not side.isdecimal() or not 1 <= int(digits[:9] or 0) <= _LARGEST_SIDE:
        raise invalid_argument(
            f"`side` must be pixels from 1 to {_LARGEST_SIDE}. Received: {side}"
        )
    image.thumbnail((int(digits), int(digits)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue(), "image/png"


def _json(value):
    text = json.dumps(value, ensure_ascii=False)
    return text.encode(), "application/json"


def _error(message):
    return _json({"error": message})
