"""Embeddings on disk: a folder of shards, and the manifest that lists them.

    FOLDER/part-00000.npz      arrays `embeddings` [n, d], `labels` int64 [n], `ids`
    FOLDER/part-00000.parquet  columns `id`, `label`, `embedding`, a list of d numbers
    FOLDER/manifest.json       what they are of, and which of them are whole

A label of -1 is one that is not known. Of a list of images with further columns, each
shard has these too: in an archive as `tfembed.formats.text_columns` says, in Parquet as
one column `metadata` with a field for each. Files are written beside, synced and
renamed, so that a file under its own name is whole. `"finished": true` in the manifest
is the last thing written.
"""

import io
import json
import os

import numpy as np

from tfembed.formats.disk import written_beside
from tfembed.formats.format_version import EMBEDDINGS, check_format
from tfembed.formats.npz import Npz
from tfembed.formats.text_columns import pack_columns

__all__ = [
    "FORMATS",
    "MANIFEST",
    "parquet_schema",
    "read_manifest",
    "read_manifest_inside",
    "summary",
    "write_manifest",
    "write_shard",
]

FORMATS = ("npz", "parquet")
MANIFEST = "manifest.json"


def write_shard(path, ids, labels, embeddings, metadata=None):
    """Writes one shard, in the format that its ending says.

    Args:
        path: File that ends in `.npz` or `.parquet`.
        ids: Strings `[n]`.
        labels: Integers `[n]`, or `None` where none are known.
        embeddings: Float array `[n, d]`.
        metadata: Dictionary of a column's name to texts `[n]`, or `None`.

    Raises:
        ImportError: If a Parquet file is asked for and pyarrow is missing.
        OSError: If it cannot be written.
    """
    labels = np.full(len(ids), -1) if labels is None else labels
    labels = np.asarray(labels, np.int64)
    with written_beside(path) as partial:
        if os.fspath(path).endswith(".parquet"):
            _write_parquet(partial, ids, labels, embeddings, metadata or {})
            return
        # By way of memory: NumPy leaves a broken archive behind where a disk is full,
        # which says so once more when it is collected.
        buffer = io.BytesIO()
        ids = np.asarray(ids, np.str_)
        more = pack_columns(metadata)
        np.savez(buffer, embeddings=embeddings, labels=labels, ids=ids, **more)
        with open(partial, "wb") as file:
            file.write(buffer.getbuffer())


def parquet_schema(dim, dtype="float32"):
    """Returns the `pyarrow.Schema` of a shard of embeddings of `dim` numbers."""
    pa = require_pyarrow()
    kind = pa.from_numpy_dtype(np.dtype(dtype))
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("label", pa.int64(), nullable=False),
            pa.field("embedding", pa.list_(kind, dim), nullable=False),
        ]
    )


def parquet_table(ids, labels, embeddings):
    """Returns a shard as a `pyarrow.Table`."""
    pa = require_pyarrow()
    embeddings = np.ascontiguousarray(embeddings)
    dim = embeddings.shape[1]
    schema = parquet_schema(dim, embeddings.dtype)
    columns = [
        pa.array([str(each) for each in ids], pa.string()),
        pa.array(np.asarray(labels, np.int64)),
        pa.FixedSizeListArray.from_arrays(pa.array(embeddings.reshape(-1)), dim),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _write_parquet(path, ids, labels, embeddings, metadata):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = parquet_table(ids, labels, embeddings)
    if metadata:
        texts = [
            pa.array([str(each) for each in values], pa.string())
            for values in metadata.values()
        ]
        fields = pa.StructArray.from_arrays(texts, [str(name) for name in metadata])
        table = table.append_column("metadata", fields)
    # Embeddings are noise to a dictionary or a compressor: they only cost time.
    pq.write_table(
        table,
        path,
        use_dictionary=False,
        compression="NONE",
    )


def require_pyarrow(instead="write `.npz`"):
    """Returns the module `pyarrow`, with its Parquet part imported.

    Args:
        instead: What one can do without it, for the error.

    Raises:
        ImportError: With a sentence, if it cannot be imported.
    """
    try:
        import pyarrow
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        hint = "Install it with `pip install 'tfembed[parquet]'`"
        if "NumPy" in str(error):
            hint = "Install one for this NumPy, such as `pip install 'pyarrow<26'`"
        raise ImportError(
            f"Parquet needs pyarrow, which could not be imported ({error}). {hint}, "
            f"or {instead}."
        ) from error
    return pyarrow


def write_manifest(folder, manifest):
    """Writes the manifest of a folder of shards.

    Args:
        folder: The folder.
        manifest: Dictionary of plain values; see `tfembed.embed`.
    """
    with written_beside(os.path.join(folder, MANIFEST)) as partial:
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            file.write("\n")


def read_manifest(folder):
    """Returns the manifest of a folder of shards; `None` if there is none.

    Raises:
        ValueError: If it is not one, or is of a newer format.
    """
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"{path!r} must be the manifest of a folder of embeddings, but reading it "
            f"says: {error}. Give another folder, or remove this one."
        ) from error
    if not isinstance(manifest, dict) or "shards" not in manifest:
        raise ValueError(
            f"{path!r} must be the manifest of a folder of embeddings, and lists no "
            "shards. Give another folder, or remove this one."
        )
    check_format(manifest, EMBEDDINGS, path)
    return manifest


def read_manifest_inside(path):
    """Returns the manifest that a single `.npz` carries; empty if it has none.

    Raises:
        ValueError: If it is of a newer format.
    """
    try:
        with Npz(path) as archive:
            manifest = json.loads(str(archive["manifest"]))
    except ValueError:  # another's archive
        return {}
    check_format(manifest, EMBEDDINGS, path)
    return manifest if isinstance(manifest, dict) else {}


def summary(manifest):
    """Says how many embeddings there are, and how many images were left out."""
    skipped = len(manifest["skipped"])
    return (
        f"{manifest['embedded']:,} embeddings of {manifest['dim']} numbers"
        + f", {skipped:,} images left out" * bool(skipped)
    )
