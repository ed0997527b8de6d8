"""Renders characters in many fonts: small real images, a class a character.

    python benchmarks/glyphs.py --output glyphs.npz --picture glyphs.png

The fonts are Debian's packages, fetched and unpacked without root (`apt-get
download`, `dpkg -x`). Each printable ASCII letter, digit and a few signs is drawn in
each face that has it, in grey, 28 x 28, on one baseline and in one size, so that `c`
and `C` differ. A face that draws a letter exactly like its other case gives it to the
upper case alone.

The file holds `images` uint8 `(n, 28, 28, 1)`, `labels` int64 `(n,)`, `class_names`,
and `fonts`, the face of each image.
"""

import argparse
import string
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PACKAGES = [
    "fonts-adf-gillius",
    "fonts-adf-libris",
    "fonts-adf-mekanus",
    "fonts-adf-oldania",
    "fonts-adf-verana",
    "fonts-aenigma",
    "fonts-breip",
    "fonts-bwht",
    "fonts-cabin",
    "fonts-comic-neue",
    "fonts-courier-prime",
    "fonts-dejavu-core",
    "fonts-dustin",
    "fonts-ebgaramond",
    "fonts-freefont-ttf",
    "fonts-inconsolata",
    "fonts-junicode",
    "fonts-liberation",
    "fonts-linuxlibertine",
    "fonts-lobster",
    "fonts-monofur",
    "fonts-quattrocento",
    "fonts-sil-andika",
    "fonts-tuffy",
]
CHARACTERS = (
    string.ascii_uppercase + string.ascii_lowercase + string.digits + "&@?!#$%+="
)
SIDE, EM, SCALE = 28, 20, 4
SUFFIXES = {".ttf", ".otf"}


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("glyphs.npz"))
    parser.add_argument("--picture", type=Path, help="also draw some, as a PNG")
    parser.add_argument("--packages", nargs="+", default=PACKAGES)
    parser.add_argument("--faces", type=int, default=120, help="at most so many")
    parser.add_argument("--seed", type=int, default=0, help="which faces, if too many")
    return parser.parse_args(argv)


def fetch(packages, folder):
    """Unpacks Debian packages below a folder; returns the font files, sorted."""
    subprocess.run(["apt-get", "download", *packages], cwd=folder, check=True)
    for package in sorted(Path(folder).glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, folder], check=True)
    files = Path(folder).rglob("*")
    return sorted(file for file in files if file.suffix.lower() in SUFFIXES)


def draw(font, character):
    """Draws a character: uint8 `(28, 28)`, white on black; None if it is cut off."""
    side = SIDE * SCALE
    left, top, right, bottom = font.getbbox(character, anchor="ls")
    base = side * 3 // 4
    if right - left > side or base + top < 0 or base + bottom > side:
        return None
    image = Image.new("L", (side, side))
    where = (side - (right - left)) // 2 - left, base
    ImageDraw.Draw(image).text(where, character, 255, font, anchor="ls")
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


def render(file):
    """Returns `{character: image}` of a face; empty if it cannot be read."""
    try:
        font = ImageFont.truetype(str(file), EM * SCALE)
        missing = draw(font, "\uffff")
        drawn = {character: draw(font, character) for character in CHARACTERS}
    except (OSError, ValueError):
        return {}
    kept = {}
    for character, image in drawn.items():
        if image is None or image.sum() < 255:
            continue
        if missing is not None and np.array_equal(image, missing):
            continue
        upper = kept.get(character.upper())
        if character.islower() and upper is not None and np.array_equal(image, upper):
            continue
        kept[character] = image
    return kept


def collect(files, faces, seed):
    """Renders faces until there are enough; returns the arrays of the file."""
    order = np.random.default_rng(seed).permutation(len(files))
    images, labels, fonts, count = [], [], [], 0
    for number in order:
        drawn = render(files[number])
        if len(drawn) < len(CHARACTERS) // 2:
            continue
        for character, image in drawn.items():
            images.append(image)
            labels.append(CHARACTERS.index(character))
            fonts.append(files[number].stem)
        count += 1
        if count == faces:
            break
    return {
        "images": np.stack(images)[..., None],
        "labels": np.array(labels, np.int64),
        "fonts": np.array(fonts),
        "class_names": np.array(list(CHARACTERS)),
    }


def picture(data, columns=40, rows=20):
    """Returns a PIL image: a row a class, as many faces as there are columns."""
    sheet = np.zeros((rows * SIDE, columns * SIDE), np.uint8)
    for row, label in enumerate(np.unique(data["labels"])[::3][:rows]):
        for column, image in enumerate(
            data["images"][data["labels"] == label][:columns]
        ):
            y, x = row * SIDE, column * SIDE
            sheet[y : y + SIDE, x : x + SIDE] = image[..., 0]
    return Image.fromarray(sheet)


def main(argv=None):
    """Fetches, renders, writes."""
    options = parse(argv)
    with tempfile.TemporaryDirectory() as folder:
        files = fetch(options.packages, folder)
        if not files:
            sys.exit("No font file in these packages; see --packages.")
        data = collect(files, options.faces, options.seed)
    np.savez_compressed(options.output, **data)
    sizes = np.bincount(data["labels"])
    print(
        f"{options.output}: {len(data['labels'])} images of {np.sum(sizes > 0)} "
        f"characters in {len(set(data['fonts']))} faces, {sizes.min()} to "
        f"{sizes.max()} a character"
    )
    if options.picture:
        picture(data).save(options.picture)


if __name__ == "__main__":
    main()
