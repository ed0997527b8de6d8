"""The embedding job on Apache Beam, for catalogues that one machine is too small for.

A pipeline reads paths, spreads them over the workers, decodes each image with the
function that training uses, embeds batches, and writes Parquet shards with ids. Each
worker process loads the encoder once. On one machine `python -m tfembed.embed` does
the same, and resumes; here the runner repeats what fails.
"""

import json
import os
import posixpath
import tempfile

import numpy as np

from tfembed.data import decode_or_reason
from tfembed.formats.disk import sync_all
from tfembed.formats.format_version import EMBEDDINGS, FORMAT
from tfembed.formats.run_config import agreed_resize, resize_of_config
from tfembed.formats.shards import (
    MANIFEST,
    parquet_schema,
    parquet_table,
    write_manifest,
)
from tfembed.ops.arguments import as_count, check_choice
from tfembed.version import __version__

try:
    import apache_beam as beam
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.utils.shared import Shared
except ImportError as error:
    raise ImportError(
        f"The pipeline needs Apache Beam, which could not be imported ({error}). "
        "Install it with `pip install 'tfembed[beam]'`."
    ) from error

__all__ = ["EmbedFiles", "embed_files"]

RUNNER = "FnApiRunner"
_NOT_FINITE = "its embedding is not finite"


class EmbedFiles(beam.PTransform):
    """Turns paths of image files into embeddings.

    ```python
    found = paths | EmbedFiles("gs://models/model.keras", root="gs://catalogue")
    found["tables"] | beam.io.WriteToParquetBatched(...)
    ```

    Takes a `PCollection` of paths, or of `(path, label)` with integers as labels; a
    path is whatever Beam's `FileSystems` opens. Gives a dictionary of two:
    `"tables"`, each a `pyarrow.Table` of one batch with the columns `id`, `label` (-1
    where unknown) and `embedding`, in no order; and `"skipped"`, `(id, reason)` of the
    images that do not decode or have no finite embedding.

    Args:
        model: A saved Keras encoder (`.keras`) that every worker can open, by
            `FileSystems`.
        root: Folder that is taken off the front of a path to make its id, so that an
            image has the same id as from `folder:ROOT`; `None` for the whole path.
        batch_size: Images in a batch, at most.
        image_size: `(height, width)` or an integer for both; only where the encoder
            takes images of any size.
        channels: 1 or 3; only where the encoder takes any number.
        dtype: `"float32"` or `"float16"`, of what is written.
        strict: Fail at an image that would be skipped.
        resize: `"squash"`, `"crop"` or `"pad"`, how pictures are brought to the
            encoder's size: `"squash"` where nobody says; a run's has its own.
    """

    def __init__(
        self,
        model,
        root=None,
        batch_size=64,
        image_size=None,
        channels=None,
        dtype="float32",
        strict=False,
        resize=None,
    ):
        super().__init__()
        check_choice(("float32", "float16"), dtype=dtype)
        self._batch_size = as_count("batch_size", batch_size)
        how = str(model), image_size, channels, agreed_resize(resize)
        self._embed = _Embed(how, root, dtype, bool(strict), Shared())

    def expand(self, paths):
        found = (
            paths
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.Map(_read)
            | "Batch"
            >> beam.BatchElements(
                min_batch_size=self._batch_size, max_batch_size=self._batch_size
            )
            | "Embed" >> beam.ParDo(self._embed).with_outputs("skipped", main="tables")
        )
        return {"tables": found.tables, "skipped": found.skipped}


def _read(element):
    """Returns `(path, label, bytes or None, reason or None)`."""
    path, label = (element, -1) if isinstance(element, str) else element
    try:
        with FileSystems.open(path) as file:
            return path, int(label), file.read(), None
    except (OSError, beam.io.filesystem.BeamIOError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return path, int(label), None, lines[0]


class _Embed(beam.DoFn):
    """Decodes and embeds batches; loads the encoder when a worker starts."""

    def __init__(self, how, root, dtype, strict, shared):
        self._how, self._root = how, root
        self._dtype, self._strict, self._shared = dtype, strict, shared
        self._embedded = beam.metrics.Metrics.counter("tfembed", "embedded")
        self._skipped = beam.metrics.Metrics.counter("tfembed", "skipped")

    def setup(self):
        self._encoder = self._shared.acquire(self._load, tag=repr(self._how))

    def _load(self):
        return open_encoder(*self._how)

    def process(self, batch):
        rows, pixels, skipped = [], [], []
        shape, resize = self._encoder.image_shape, self._encoder.resize or "squash"
        for path, label, encoded, reason in batch:
            if reason is None:
                image, reason = decode_or_reason(encoded, shape, resize)
            if reason is None:
                rows.append((_id(path, self._root), label))
                pixels.append(image)
            else:
                skipped.append((_id(path, self._root), reason))
        if rows:
            embeddings = self._encoder(np.stack(pixels)).astype(self._dtype)
            finite = np.isfinite(embeddings).all(axis=1)
            skipped += [
                (rows[row][0], _NOT_FINITE) for row in np.flatnonzero(~finite).tolist()
            ]
            kept = np.flatnonzero(finite).tolist()
            if kept:
                yield parquet_table(
                    [rows[row][0] for row in kept],
                    [rows[row][1] for row in kept],
                    embeddings[kept],
                )
            self._embedded.inc(len(kept))
        if skipped and self._strict:
            raise ValueError(
                "Every image must decode and have an embedding where `strict` is set. "
                f"Received: {skipped[0][0]!r}: {skipped[0][1]}."
            )
        self._skipped.inc(len(skipped))
        for pair in skipped:
            yield beam.pvalue.TaggedOutput("skipped", pair)


def _id(path, root):
    prefix = "" if root is None else str(root).rstrip("/") + "/"
    return path[len(prefix) :] if prefix and path.startswith(prefix) else path


def open_encoder(model, image_size=None, channels=None, resize=None):
    """Loads an encoder from wherever Beam's `FileSystems` reaches.

    Returns:
        A `tfembed.backbones.Encoder` on one device.
    """
    import tensorflow as tf

    from tfembed.backbones import Encoder

    strategy = tf.distribute.get_strategy()  # workers, not replicas, share the work
    if os.path.exists(model):
        return Encoder(model, image_size, channels, strategy, resize)
    resize = agreed_resize(resize, _resize_of(model), f"the run of {model!r}")
    try:
        with FileSystems.open(model) as file, tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "model.keras")
            with open(copy, "wb") as local:
                local.write(file.read())
            return Encoder(copy, image_size, channels, strategy, resize)
    except (OSError, beam.io.filesystem.BeamIOError) as error:
        raise ValueError(
            "`model` must be a saved Keras encoder that can be opened. "
            f"Received: model={model!r}: {str(error).splitlines()[0]}"
        ) from error


def _resize_of(model):
    """Returns `resize` of a run's config, on any file system that Beam reads."""
    folder, name = posixpath.split(model)
    config = posixpath.join(folder, "config.json")
    if name != "model.keras" or not _files(config):
        return None
    with FileSystems.open(config) as file:
        return resize_of_config(file.read().decode(), config)


def embed_files(
    model,
    paths,
    output,
    root=None,
    batch_size=64,
    image_size=None,
    channels=None,
    dtype="float32",
    strict=False,
    options=None,
    num_shards=0,
    resize=None,
):
    """Runs the pipeline from a list of paths to a folder of Parquet shards.

    Args:
        model: As in `EmbedFiles`; a run directory too, where it is on this machine.
        paths: Text file with one path a line, and after a tab its label, an integer,
            if there is one; or several such files, by a pattern.
        output: New or empty folder, local or one of Beam's `FileSystems`.
        root: As in `EmbedFiles`.
        batch_size: As in `EmbedFiles`.
        image_size: As in `EmbedFiles`.
        channels: As in `EmbedFiles`.
        dtype: As in `EmbedFiles`.
        strict: As in `EmbedFiles`.
        options: Beam's `PipelineOptions`; `None` to run in this process. (It names the
            `FnApiRunner`, which is what Beam's DirectRunner falls back to; that one
            downloads a program, Prism, first.)
        num_shards: Number of shards; 0 lets the runner choose.
        resize: As in `EmbedFiles`.

    Returns:
        The manifest: a dictionary that counts the embeddings (`embedded`) and names
        the images left out (`skipped`). `tfembed.data.read_embeddings` reads a local
        `output`.

    Raises:
        ValueError: If an argument is wrong, `output` holds embeddings already, or no
            image could be embedded.
        RuntimeError: If the pipeline fails; with `strict`, at an image that would be
            skipped.
    """
    output = str(output).rstrip("/")
    _check_new(output)
    _check_list(str(paths))
    encoder = open_encoder(str(model), image_size, channels, resize)
    if os.path.isdir(str(model)):
        model = encoder.name
    pipeline = beam.Pipeline(options=options or PipelineOptions([f"--runner={RUNNER}"]))
    found = (
        pipeline
        | "List" >> beam.io.ReadFromText(str(paths))
        | "Split" >> beam.FlatMap(_path_and_label)
        | EmbedFiles(
            model,
            root,
            batch_size,
            image_size,
            channels,
            dtype,
            strict,
            encoder.resize,
        )
    )
    found["tables"] | "Write" >> beam.io.WriteToParquetBatched(
        posixpath.join(output, "part"),
        parquet_schema(encoder.dim, dtype),
        file_name_suffix=".parquet",
        num_shards=num_shards,
    )
    (
        found["skipped"]
        | "Line" >> beam.Map(json.dumps)
        | "Tell"
        >> beam.io.WriteToText(
            posixpath.join(output, "skipped"), file_name_suffix=".jsonl"
        )
    )
    pipeline.run().wait_until_finish()
    manifest = {
        FORMAT: EMBEDDINGS,
        "finished": True,
        "tfembed": __version__,
        "model": str(model),
        "source": str(paths),
        "dim": encoder.dim,
        "class_names": [],
        "identity": {
            "model": encoder.sha256,
            "image_shape": list(encoder.image_shape),
            "resize": encoder.resize or "squash",
            "dim": encoder.dim,
            "dtype": dtype,
            "format": "parquet",
        },
        **_written(output),
    }
    if not manifest["embedded"]:
        skipped = manifest["skipped"]
        raise ValueError(
            "`paths` must name images that can be embedded. Received: "
            f"{str(paths)!r}, of which none can be"
            + "".join(f"; the first, {name!r}: {why}" for name, why in skipped[:1])
            + "."
        )
    if FileSystems.get_scheme(output) is None:
        sync_all(output)
        write_manifest(output, manifest)
    else:
        path = posixpath.join(output, MANIFEST)
        with FileSystems.create(path + ".partial") as file:
            file.write((json.dumps(manifest, indent=1) + "\n").encode())
        FileSystems.rename([path + ".partial"], [path])
    return manifest


def _check_list(pattern):
    """Raises a ValueError at the first line that is not UTF-8: ids are made of them."""
    for name in _files(pattern):
        with FileSystems.open(name) as file:
            for number, line in enumerate(iter(file.readline, b""), 1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    raise ValueError(
                        "`paths` must list files whose names are UTF-8: they become "
                        f"ids. Received: {name!r}, line {number}: {line.rstrip()!r}. "
                        "Rename the file, and write the list as UTF-8."
                    ) from error


def _path_and_label(line):
    """Yields the element of a line; nothing for an empty one."""
    path, tab, label = line.rpartition("\t") if "\t" in line else (line, "", "")
    if not path.strip():
        return
    if not tab:
        yield path
        return
    try:
        yield path, int(label)
    except ValueError as error:
        raise ValueError(
            "A line of `paths` must be a path, or a path, a tab and an integer. "
            f"Received: {line!r}."
        ) from error


def _files(pattern):
    """Returns the paths of a pattern, sorted."""
    (match,) = FileSystems.match([pattern])
    return sorted(found.path for found in match.metadata_list)


def _check_new(output):
    if not os.path.isdir(output) and FileSystems.get_scheme(output) is None:
        os.makedirs(output, exist_ok=True)
    taken = [_files(posixpath.join(output, name)) for name in ("part-*", MANIFEST)]
    if any(taken):
        raise ValueError(
            "`output` must be a folder without embeddings. "
            f"Received: {output!r}, which holds {sum(taken, [])[0]!r}. Choose another, "
            "or remove them."
        )


def _written(output):
    """Counts what the pipeline wrote, from the files themselves."""
    import pyarrow.parquet as pq

    entries, skipped = [], []
    for path in _files(posixpath.join(output, "part-*.parquet")):
        with FileSystems.open(path) as file:
            rows = pq.ParquetFile(file).metadata.num_rows
        entries.append({"file": posixpath.basename(path), "rows": rows})
    for path in _files(posixpath.join(output, "skipped-*.jsonl")):
        with FileSystems.open(path) as file:
            skipped += [json.loads(line) for line in file.read().splitlines()]
    return {
        "embedded": sum(entry["rows"] for entry in entries),
        "skipped": sorted(skipped),
        "shards": entries,
    }
