"""What a list says of each image of a served gallery, beside the version: a file.

`assets.extra/metadata.sqlite` in the folder of a version is an SQLite database, from
which a few images' texts are read without the rest:

    CREATE TABLE metadata (id TEXT PRIMARY KEY, texts TEXT)

`texts` is a JSON object of a column's name to its text. Texts that are empty are left
out, and images that have none. No signature knows of it: TF Serving reads
`saved_model.pb` and `variables/` alone.
"""

import contextlib
import errno
import json
import os
import urllib.parse

from tfembed.formats.disk import FullDiskError

__all__ = ["FILE", "read_metadata", "update_metadata", "write_metadata"]

FILE = os.path.join("assets.extra", "metadata.sqlite")
_AT_ONCE = 1 << 14


def write_metadata(version, ids, columns):
    """Writes the file, unless no image has a text.

    Args:
        version: Folder of a version that nobody reads yet.
        ids: Texts `[n]`.
        columns: Dictionary of a column's name to texts `[n]`.

    Returns:
        List of the columns that are there.

    Raises:
        OSError: If it cannot be written.
        ImportError: If this Python was built without SQLite.
    """
    return update_metadata(version, (), [(ids, columns)])


def update_metadata(version, gone, added):
    """Changes the file of a version; makes it if need be.

    Args:
        version: Folder of a version that nobody reads yet, with or without the file.
        gone: Ids whose texts go.
        added: List of `(ids, columns)`, whose texts come, in place of those that an
            image had.

    Returns:
        List of the columns that come.

    Raises:
        OSError: If it cannot be written.
        ImportError: If this Python was built without SQLite.
    """
    path = os.path.join(version, FILE)
    columns = list(dict.fromkeys(name for _, texts in added for name in texts))
    if not os.path.exists(path) and not columns:
        return []
    os.makedirs(os.path.dirname(path), exist_ok=True)
    sqlite3 = _sqlite3()
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
            # A version is whole or not at all: it needs no journal of its own.
            file.execute("PRAGMA journal_mode = OFF")
            file.execute("PRAGMA synchronous = OFF")
            file.execute("BEGIN")
            file.execute(
                "CREATE TABLE IF NOT EXISTS metadata "
                "(id TEXT PRIMARY KEY, texts TEXT) WITHOUT ROWID"
            )
            file.executemany(
                "DELETE FROM metadata WHERE id = ?", ((str(each),) for each in gone)
            )
            for ids, texts in added:
                file.executemany(
                    "INSERT OR REPLACE INTO metadata VALUES (?, ?)", _rows(ids, texts)
                )
            file.execute("COMMIT")
    except sqlite3.Error as error:
        if "full" in str(error):
            raise FullDiskError(
                errno.ENOSPC,
                f"There is no room for {path!r}, which says of each image what the "
                "list says of it. Free some room, or give a folder on another disk.",
            ) from error
        raise OSError(errno.EIO, f"{path!r} cannot be written: {error}") from error
    return columns


def _rows(ids, columns):
    names = list(columns)
    for name, *texts in zip(ids, *(columns[each] for each in names)):
        said = {key: str(text) for key, text in zip(names, texts) if text != ""}
        if said:
            yield str(name), json.dumps(said)


def read_metadata(version, ids):
    """Reads what is said of some images.

    Args:
        version: Folder of a version.
        ids: Texts `[n]`.

    Returns:
        List of `n` dictionaries of a column's name to its text; empty where nothing is
        said of an image, or no such image is there.

    Raises:
        ValueError: If the file is not what `write_metadata` writes.
        ImportError: If this Python was built without SQLite.
    """
    path = os.path.abspath(os.path.join(version, FILE))
    if not os.path.exists(path):
        return [{} for _ in ids]
    sqlite3 = _sqlite3()
    # Immutable: a version never changes, and SQLite then makes no file beside it.
    address = f"file:{urllib.parse.quote(path)}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as file:
            return [_said_of(file, str(each)) for each in ids]
    except (sqlite3.Error, ValueError) as error:
        raise ValueError(
            f"{path!r} must be a file of images' metadata, but reading it says: "
            f"{error}. Export the model again."
        ) from error


def _said_of(file, name):
    try:
        name.encode()
    except UnicodeEncodeError:  # no gallery has such an id
        return {}
    found = file.execute("SELECT texts FROM metadata WHERE id = ?", (name,)).fetchone()
    said = {} if found is None else json.loads(found[0])
    if not isinstance(said, dict):
        raise ValueError(f"the texts of {name!r} are not a JSON object")
    return {str(key): str(text) for key, text in said.items()}


def _sqlite3():
    try:
        import sqlite3
    except ImportError as error:
        raise ImportError(
            "What a list says of images is kept with SQLite, which this Python was "
            f"built without ({error}). Take another Python, or a list without further "
            "columns."
        ) from error
    return sqlite3
