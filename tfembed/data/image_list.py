"""A list of image files: a CSV or Parquet file with a row an image.

    csv:FILE                              the columns `path`, `label` and `split`
    csv:FILE,path=file,label=brand        columns of other names

`path` is an image's path below the folder that the list lies in, with `/` between
folders; so normalised it is the image's name. `label` and `split` may be missing: then
there are no labels, or no parts. A list may have several columns of labels, of which
`label=` names one. The parts are called train, val, valid or validation, and test, in
capitals or not. Classes are numbered in the order of their sorted names. All further
columns are kept as texts, `Split.metadata`.

A row that names no file, a path outside of the folder, a path that stood before, or no
label or part where the list has them, is left out, counted and named; `strict` stops at
the first. A file that ends in `.parquet` is read by pyarrow, any other as CSV with a
line of names: commas, semicolons or tabs between the fields, in UTF-8.
"""

import collections
import csv
import logging
import os
import re

from tfembed.command_line import near
from tfembed.data.folder import FolderSplit
from tfembed.data.layout import PARTS, part_of
from tfembed.data.request import Source
from tfembed.formats.image_files import name_some
from tfembed.formats.shards import require_pyarrow

__all__ = ["COLUMNS", "find", "list_option"]

_LOG = logging.getLogger(__name__)
COLUMNS = ("path", "label", "split")
_OPTION = re.compile(r"(.*),(path|label|split)=([^,]*)", re.DOTALL)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def list_option(argument):
    """Splits `FILE,path=COLUMN,label=COLUMN` into the file and the columns.

    Returns:
        `(file, columns)`: the path with the user's home in it, absolute; and a
        dictionary from those of `COLUMNS` that are given to a column's name.

    Raises:
        ValueError: If a column is named twice, or by nothing.
    """
    given, path = {}, argument
    while not os.path.isfile(os.path.expanduser(path)):
        found = _OPTION.fullmatch(path)
        if found is None:
            break
        if found[2] in given or not found[3]:
            raise ValueError(
                f"`csv:FILE,{found[2]}=COLUMN` must name one column. "
                f"Received: {argument!r}."
            )
        given[found[2]], path = found[3], found[1]
    return os.path.abspath(os.path.expanduser(path)), given


def find(argument, request):
    """Reads the list at the path `argument`; opens no image yet."""
    file, given = list_option(argument)
    if not os.path.isfile(file):
        raise ValueError(
            "`csv:FILE` must name a file, CSV or Parquet, with a row an image. "
            f"Received: {argument!r}, which is not a file."
        )
    names, rows = _read(file)
    columns = _find_columns(names, given, argument)
    listing = _List(os.path.dirname(file), columns)
    for number, row in rows:
        listing.add(number, row)
        if request.strict and listing.wrong:
            raise ValueError(
                f"{file!r} {listing.wrong[0][1]}: {listing.wrong[0][0]!r}. Mend the "
                "row, or do without `strict` to leave such rows out."
            )
    if listing.wrong:
        shown = [f"{path!r} ({reason})" for path, reason in listing.wrong]
        _LOG.warning(
            "Left out %d of %d rows of %s: %s.",
            len(listing.wrong),
            listing.count,
            file,
            name_some(shown),
        )
    return _source(file, listing, columns)


class _List:
    """The rows of a list so far: good ones by part, and the others with the reason.

    Args:
        root: The folder of the images.
        columns: From each of `COLUMNS` that is there to its place in a row.
    """

    def __init__(self, root, columns):
        self.root, self.columns = root, columns
        self.parts = collections.defaultdict(list)  # part: [(path, label, row)]
        self.wrong = []  # (path, reason)
        self.count = 0
        self._seen = {}
        self._real = os.path.realpath(root)

    def add(self, number, row):
        """Takes a row in.

        Args:
            number: The row's number, as people count, for messages.
            row: List of texts.
        """
        self.count += 1
        path, label, part = (
            row[self.columns[name]].strip() if name in self.columns else None
            for name in COLUMNS
        )
        name, reason = self._name_of(path)
        if reason is None and label == "":
            reason = "has no label"
        if reason is None and part is not None and part_of(part) is None:
            reason = f"has the split {part!r}, not train, validation or test"
        if reason is None and name in self._seen:
            reason = f"has the path of row {self._seen[name]} again"
        if reason is not None:
            self.wrong.append((path, f"row {number} {reason}"))
            return
        self._seen[name] = number
        part = "train" if part is None else part_of(part)
        self.parts[part].append((name, label, row))

    def _name_of(self, path):
        """Returns the name of an image, or `None`, and what is wrong with its path."""
        if not path:
            return None, "has no path"
        if "\0" in path:
            return None, "has a path with a zero byte"
        if _URL.match(path):
            return None, "has a URL for a path"
        name = os.path.relpath(os.path.join(self.root, path), self.root)
        name = name.replace(os.sep, "/")
        whole = os.path.join(self.root, name)
        inside = os.path.commonpath([self._real, os.path.realpath(whole)]) == self._real
        if name.split("/")[0] == ".." or not inside:
            return None, "has a path outside of the list's folder"
        if not os.path.isfile(whole):
            return None, "names a file that is not there"
        return name, None


def _source(file, listing, columns):
    files = [one for part in PARTS for one in listing.parts[part]]
    if not files:
        first = f"; the first: {listing.wrong[0][1]}" if listing.wrong else ""
        raise ValueError(
            "`csv:FILE` must list images. Received: "
            f"{file!r}, with {listing.count:,} rows of which none is good{first}."
        )
    if not listing.parts["train"]:
        raise ValueError(
            "`csv:FILE` with a column of splits must have rows of the split train. "
            f"Received: {file!r}, with none that is good."
        )
    class_names = None
    if "label" in columns:
        class_names = tuple(sorted({label for _, label, _ in files}))
    numbers = {name: number for number, name in enumerate(class_names or ())}
    splits = {}
    for part in PARTS:
        rows = listing.parts[part]
        if not rows:
            continue
        metadata = {
            name: [row[place] for _, _, row in rows]
            for name, place in columns["others"].items()
        }
        splits[part] = FolderSplit(
            listing.root,
            (None, None, None),
            None if class_names is None else [numbers[label] for _, label, _ in rows],
            [name for name, _, _ in rows],
            listing.wrong if part == "train" else (),
            metadata,
        )
    return Source(
        splits["train"],
        splits.get("test"),
        class_names,
        ordered=True,
        validation=splits.get("validation"),
        taken=_taken(listing, columns, splits, class_names),
    )


def _taken(listing, columns, splits, class_names):
    said = [f"{listing.count:,} rows"]
    if listing.wrong:
        said.append(f"{len(listing.wrong):,} left out")
    if "split" in columns:
        said.append(
            ", ".join(f"{part} {split.size:,} images" for part, split in splits.items())
        )
    if class_names is not None:
        said.append(f"{len(class_names):,} classes")
    return "; ".join(said)


def _find_columns(names, given, argument):
    """Returns the places of the columns; of the further ones by name, as "others"."""
    listed = ", ".join(map(repr, names)) or "no names"
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            "`csv:FILE` must have columns of different names. "
            f"Received: {argument!r} with {listed}."
        )
    places = {}
    for column in COLUMNS:
        name = given.get(column, column)
        if name in names:
            places[column] = names.index(name)
        elif column in given or column == "path":
            like = near(name, names)
            raise ValueError(
                f"`csv:FILE` must have the column {name!r}. Received: {argument!r} "
                f"with {listed}."
                + (f" Did you mean {column}={like[0]}?" if like else "")
                + ("" if like or column in given else " Name one with ,path=COLUMN.")
            )
    if len(set(places.values())) < len(places):
        raise ValueError(
            "`csv:FILE` must have a column each for path, label and split. "
            f"Received: {argument!r}, which names one twice."
        )
    used = set(places.values())
    places["others"] = {
        name: place for place, name in enumerate(names) if place not in used
    }
    return places


def _read(file):
    """Returns the names of the columns, and `(number, row of texts)` for each row."""
    if file.lower().endswith(".parquet"):
        return _read_parquet(file)
    return _read_csv(file)


def _read_csv(file):
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            head = stream.readline()
            stream.seek(0)
            counts = {mark: head.count(mark) for mark in ",;\t"}
            delimiter = max(counts, key=counts.get)
            lines = list(csv.reader(stream, delimiter=delimiter, strict=True))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`csv:FILE` must be text in UTF-8. Received: {file!r}, with the byte "
            f"{error.object[error.start]:#04x} at {error.start:,}. Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise ValueError(f"{file!r} must be CSV. Reading it says: {error}.") from error
    if not lines:
        raise ValueError(
            "`csv:FILE` must begin with a line of the columns' names. "
            f"Received: {file!r}, which is empty."
        )
    names = [name.strip() for name in lines[0]]
    rows = []
    for number, row in enumerate(lines[1:], 2):
        if not row:
            continue
        if len(row) != len(names):
            raise ValueError(
                f"{file!r} must have {len(names)} fields in each row. "
                f"Received: {len(row)} in row {number}."
            )
        rows.append((number, row))
    return names, rows


def _read_parquet(file):
    pyarrow = require_pyarrow("list the images in CSV")
    try:
        table = pyarrow.parquet.ParquetFile(file).read()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{file!r} must be a Parquet file. Reading it says: {words}"
        ) from error
    columns = [
        ["" if value is None else str(value) for value in column.to_pylist()]
        for column in table.columns
    ]
    return list(table.column_names), list(enumerate(map(list, zip(*columns)), 1))
