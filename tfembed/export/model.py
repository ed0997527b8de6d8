"""From an encoder and a gallery to the next served version."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfembed import __version__
from tfembed.command_line import suggestion
from tfembed.export.card import write_card
from tfembed.export.examples import MOST
from tfembed.export.gallery_state import gallery_sha256, gallery_state
from tfembed.export.heads import (
    HEADS,
    build_chosen,
    build_head,
    check_head_options,
    load_head,
)
from tfembed.export.heads.contract import check_head
from tfembed.export.heads.head_state import check_recall
from tfembed.export.prepare import prepare
from tfembed.export.query_search import what_is_exact
from tfembed.export.run_directory import Gallery, check_vote_k, read_run
from tfembed.export.run_facts import facts_of_run
from tfembed.export.search_model import SearchModel
from tfembed.export.stock_ops import check_stock_ops
from tfembed.export.threshold import check_threshold
from tfembed.export.verify import check_answers
from tfembed.export.versions import new_version
from tfembed.export.warmup import BATCH_SIZES, warmup_requests, write_warmup
from tfembed.formats.image_metadata import write_metadata
from tfembed.formats.run_config import agreed_resize, run_resize
from tfembed.hints import PathLike, Rows
from tfembed.ops.arguments import as_count
from tfembed.ops.image_formats import DECODER_VERSION, MAX_PIXELS
from tfembed.progress import TimedLines

if TYPE_CHECKING:
    from tensorflow import keras


def export_model(
    run_dir: PathLike,
    model_base: PathLike,
    *,
    head: str = "auto",
    report: Callable[[str], object] | None = print,
    **options: Any,
) -> Path:
    """Publishes a run's encoder and gallery as the next version of a served model.

    The run's `queries.npz`, if it has one, are the held-out queries, and its `queries/`
    the samples; its `config.json` and `result.json` go into the model card.

    >>> import tempfile
    >>> from tfembed.export import export_model
    >>> with tempfile.TemporaryDirectory() as run:  # without `model.keras`
    ...     export_model(run, "models", head="exact", k=20)
    Traceback (most recent call last):
        ...
    ValueError: `run_dir` must hold `model.keras` and `gallery.npz`. ...

    Args:
        run_dir: A finished run directory, with `model.keras` and `gallery.npz`.
        model_base: Folder with one numbered folder a version; made if missing.
        head: As for `export`.
        report: As for `export`.
        **options: Any other of `export`.

    Returns:
        `pathlib.Path` of the published version.

    Raises:
        ValueError: If an argument, the run or the model is not fit for it.
        OSError: If the version cannot be written, or the disk has no room.
        RuntimeError: If the export does not answer as Python does.
    """
    check_options(head, **options)
    resize = options.get("resize")
    options["resize"] = agreed_resize(resize, run_resize(run_dir), f"{run_dir!r}")
    run = read_run(run_dir, options.get("normalize", False))
    options.setdefault("queries", run.queries)
    options.setdefault("samples", run.sample_images() or None)
    return export(
        run.encoder_path,
        run.gallery,
        model_base,
        head=head,
        report=report,
        facts={
            **facts_of_run(run.path.name, run.config, run.result),
            **options.pop("facts", {}),
        },
        **options,
    )


def export(
    encoder: keras.Model | PathLike,
    gallery: Gallery | str | Path | Mapping[str, Any],
    path: PathLike,
    *,
    k: int = 10,
    head: str = "auto",
    recall: float = 0.95,
    head_options: Mapping[str, Any] | None = None,
    queries: Rows | str | Path | Mapping[str, Any] | None = None,
    threshold: float | None = None,
    false_rejection: float | None = None,
    vote_k: int | None = None,
    image_shape: tuple[int, int, int] | None = None,
    resize: str | None = None,
    normalize: bool = False,
    class_names: Sequence[str] | None = None,
    samples: Any = None,
    score_megabytes: int = 128,
    max_pixels: int = MAX_PIXELS,
    warmup_batches: Sequence[int] = BATCH_SIZES,
    facts: Mapping[str, Any] | None = None,
    report: Callable[[str], object] | None = print,
) -> Path:
    """Publishes an encoder and a gallery as the next version of a served model.

    The version is written to a hidden folder, checked (stock ops only; loaded by a
    fresh process, through TensorFlow's C API and by `tf.saved_model.load`; its answers
    compared with Python's; its warm-up requests replayed) and then renamed to its
    number, so that a server sees all of it or nothing. If anything fails, the error is
    all that is left.

    >>> import os, tempfile
    >>> from tfembed.export import export
    >>> encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> rows = np.eye(16, dtype="float32")
    >>> gallery = {"embeddings": rows, "labels": ["cat"] * 8 + ["dog"] * 8}
    >>> gallery["ids"] = [f"{row}.png" for row in range(16)]
    >>> options = {"normalize": True, "warmup_batches": (), "report": None}
    >>> with tempfile.TemporaryDirectory() as base:
    ...     version = export(encoder, gallery, base, k=3, **options)
    ...     search = tf.saved_model.load(str(version)).signatures["search"]
    ...     found = search(embeddings=tf.constant(rows[:1]))
    >>> found["ids"].numpy()[0, 0], found["labels"].numpy()[0, 0]
    (b'0.png', b'cat')

    Args:
        encoder: Any Keras model of images `(batch, height, width, channels)` with
            values in 0..255 to embeddings `(batch, d)`, or the path of one:
            functional, Sequential or subclassed, in any precision.
        gallery: A `Gallery`, the path of a `gallery.npz`, or a mapping of its arrays:
            `embeddings` float `(n, d)`, `labels` `(n,)`, integers, -1 where unknown,
            or names, empty where unknown, and `ids` text `(n,)`; also `metadata`, a
            mapping of a column's name to texts `(n,)`, which is kept beside the
            version: see `tfembed.formats.image_metadata`.
        path: Folder with one numbered folder a version; made if missing.
        k: Neighbours in an answer; a smaller gallery gives as many as it has.
        head: `"exact"`, `"bfloat16"`, `"int8"`, `"int8_bfloat16"`, `"prefix"` or
            `"ivf"`, see `tfembed.export.heads`; the name of one that an installed
            package offers, or one's own, `module:Class` (`docs/extend.md`); `"auto"`
            chooses by size and says why.
        recall: What `ivf` has to reach, measured on the queries; `int8` and
            `int8_bfloat16` say where they do not.
        head_options: What the head takes besides, `{name: value}`: of `prefix`,
            `numbers` and `candidates`.
        queries: Embeddings of held-out images, `(q, d)`, a mapping of `embeddings` and
            `labels`, or the path of an `.npz` file with them: what recall is measured
            and the threshold calibrated on. `None`: rows of the gallery.
        threshold: Best score from which a query is known; `None`: see
            `choose_threshold`.
        false_rejection: Share of genuine queries that the threshold may reject.
        vote_k: Neighbours that vote; `None`: as many as the gallery's file says, else
            200. A smaller gallery votes as a whole.
        image_shape: `(height, width, channels)`, for an encoder that does not tell.
        resize: `"squash"`, `"crop"` or `"pad"`, how encoded images are brought to
            that shape (`tfembed/ops/resize.py`), which must be how the gallery's were;
            `None`: as the run says whose encoder it is, else `"squash"`.
        normalize: Divides embeddings by their length, in the graph; the gallery's and
            the queries' and those of later updates too. Without it all must have
            length 1.
        class_names: Names of the labels, in place of the gallery's.
        samples: Images that the export is tried with, see `encode_samples`.
        score_megabytes: Batches are searched in chunks whose scores take at most this
            much memory.
        max_pixels: Encoded images that declare more pixels count as bad.
        warmup_batches: Batch sizes of the warm-up requests; empty: no warm-up file.
        facts: `data`, `method`, `metrics` and `source` of the model card.
        report: Is called with a line of progress at a time. `None`: silent.

    Returns:
        `pathlib.Path` of the published version.

    Raises:
        TypeError: If the encoder is no Keras model.
        ValueError: If an argument or the model is not fit for it.
        OSError: If the version cannot be written, or the disk has no room.
        RuntimeError: If the export does not answer as Python does.
    """
    say = TimedLines(report)
    check_options(
        head,
        k=k,
        score_megabytes=score_megabytes,
        max_pixels=max_pixels,
        recall=recall,
        head_options=head_options,
        warmup_batches=warmup_batches,
        vote_k=vote_k,
        threshold=threshold,
        false_rejection=false_rejection,
    )
    facts = dict(facts or {})
    prepared = prepare(
        encoder,
        gallery,
        say,
        source=facts.pop("source", None),
        class_names=class_names,
        vote_k=vote_k,
        queries=queries,
        threshold=threshold,
        false_rejection=false_rejection,
        image_shape=image_shape,
        resize=resize,
        normalize=normalize,
        samples=samples,
        silent=report is None,
    )
    del encoder, gallery, queries
    if k > prepared.gallery.size:
        size = prepared.gallery.size
        say(f"answers have {size} neighbours, the whole gallery, not {k}")
    head_state = _built_head(prepared, head, k, recall, head_options, say)
    return _published(
        prepared,
        head_state,
        path,
        say,
        k=k,
        score_megabytes=score_megabytes,
        max_pixels=max_pixels,
        normalize=normalize,
        warmup_batches=warmup_batches,
        facts=facts,
    )


def _built_head(prepared, head, k, recall, head_options, say):
    """Builds the head, or chooses one; returns its `HeadState`."""
    gallery, queries = prepared.gallery, prepared.queries
    if head not in HEADS.parts and head != "auto":
        check_head(head, gallery.dim)
        say(f"tried the head {head} on small galleries")
    asked = {
        "recall": recall,
        "queries": None if queries is None else queries.embeddings,
        "k": min(k, gallery.size),
    }
    if head == "auto":
        return build_chosen(gallery.embeddings, say, **asked)
    return build_head(head, gallery.embeddings, head_options, progress=say, **asked)


def _published(
    prepared,
    head_state,
    path,
    say,
    *,
    k,
    score_megabytes,
    max_pixels,
    normalize,
    warmup_batches,
    facts,
):
    """Writes the version, checks it, and gives it its number; returns its path."""
    encoder, gallery = prepared.encoder, prepared.gallery
    head = head_state.card["head"]
    state = gallery_state(gallery, head_state)
    say(f"built the {head} head")
    size = sum(np.asarray(value).nbytes for value in state.values())
    size += sum(2 * len(each) for texts in gallery.metadata.values() for each in texts)
    needed = int(1.1 * (size + encoder.bytes)) + (8 << 20)
    with new_version(path, needed) as version:
        model = SearchModel(
            encoder,
            encoder.weights,
            encoder.image_shape,
            encoder.dim,
            head,
            state,
            k,
            score_megabytes << 20,
            max_pixels,
            normalize,
            encoder.resize,
        )
        del state, head_state.arrays  # the model has its own
        tf.saved_model.save(model, str(version.path), signatures=model.signatures)
        del model
        say("wrote the SavedModel")
        check_stock_ops(version.path)
        say("checked its ops: stock TensorFlow only")
        write_warmup(
            version.path,
            warmup_requests(encoder.image_shape, encoder.dim, warmup_batches),
        )
        columns = write_metadata(version.path, gallery.ids, gallery.metadata)
        checks = check_answers(version.path, encoder, gallery, head, k, prepared.images)
        say(
            f"asked it {len(prepared.images)} images in a fresh process, by "
            f"{' and '.join(checks['runtimes'])}: embeddings within "
            f"{checks['embeddings_within']:.1g} of Python's, scores within "
            f"{checks['scores_within']:.1g} of brute force; "
            f"{checks['warmup_requests']} warm-up requests replayed"
        )
        card = {
            **_card(prepared, head_state, columns),
            "k": int(k),
            "max_pixels": int(max_pixels),
            **facts,
            "checks": checks,
        }
        card["encoder"]["normalize"] = bool(normalize)
        write_card(version.path, card)
    say(f"published version {version.number}: {version.path}")
    return version.path


def _card(prepared, head_state, columns):
    """Returns what the model card says of encoder, gallery, head and threshold."""
    encoder, gallery = prepared.encoder, prepared.gallery
    digest = gallery_sha256(gallery)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    head, chosen = head_state.card["head"], prepared.threshold
    return {
        "tfembed": __version__,
        "tensorflow": tf.__version__,
        "keras": importlib.metadata.version("keras"),
        "created": created,
        "encoder": {
            "sha256": encoder.sha256(),
            "image_shape": list(encoder.image_shape),
            "resize": encoder.resize,
            "decoder": DECODER_VERSION,
            "dim": encoder.dim,
            "precision": encoder.precision,
        },
        "gallery": {
            "size": gallery.size,
            "sha256": digest,
            "classes": gallery.class_names.tolist(),
            "source": prepared.source,
            "created": created,
            "mean_cosine": prepared.mean_cosine,
            "metadata": columns,
        },
        "head": head_state.card,
        "query": {"examples": MOST, "exact": what_is_exact(head)},
        "known": {
            "threshold": chosen.value,
            "calibrated_on": chosen.calibrated_on,
            "false_rejection": chosen.false_rejection,
            "queries": chosen.queries,
            "gallery_sha256": digest,
            "stale": False,
        },
        "vote": {"temperature": gallery.vote_temperature, "k": gallery.vote_k},
        "warnings": prepared.warnings,
    }


def check_options(head: Any = "auto", **options: Any) -> None:
    """Checks the arguments of `export` that can be checked without a model.

    >>> from tfembed.export import check_options
    >>> check_options(head="int8", k=10)
    >>> check_options(k=0)
    Traceback (most recent call last):
        ...
    ValueError: `k` must be ...

    Args:
        head: As for `export`.
        **options: Any other of `export`.

    Raises:
        ValueError: If one is out of range.
    """
    if head != "auto":
        _check_head_name(head)
    check_head_options(head, options.get("head_options") or {})
    for name in ("k", "score_megabytes", "max_pixels"):
        if name in options:
            as_count(name, options[name])
    check_recall(options.get("recall", 0.95))
    for size in options.get("warmup_batches", ()):
        as_count("warmup_batches", size)
    check_vote_k(options.get("vote_k"))
    agreed_resize(options.get("resize"))
    check_threshold(options.get("threshold"), options.get("false_rejection"))


def _check_head_name(head):
    known = ["auto", *HEADS]
    if not isinstance(head, str) or head not in HEADS:
        guess = suggestion(str(head), known)
        raise ValueError(
            f"`head` must be one of {', '.join(map(repr, known))}, or your own, "
            f"'module:Class'. Received: head={head!r}." + (guess and f" {guess}")
        )
    load_head(head)
