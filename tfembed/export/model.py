"""From an encoder and a gallery to the next served version."""

import importlib.metadata
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfembed import __version__
from tfembed.command_line import suggestion
from tfembed.export.alikeness import describe_alikeness
from tfembed.export.card import write_card
from tfembed.export.encoder import ExportedEncoder
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
from tfembed.export.image_bytes import MAX_PIXELS
from tfembed.export.query_search import what_is_exact
from tfembed.export.run_directory import (
    Gallery,
    Queries,
    check_vote_k,
    make_gallery,
    make_queries,
    read_gallery,
    read_queries,
    read_run,
)
from tfembed.export.run_facts import facts_of_run
from tfembed.export.samples import encode_samples
from tfembed.export.search_model import SearchModel
from tfembed.export.stock_ops import check_stock_ops
from tfembed.export.threshold import check_threshold, choose_threshold
from tfembed.export.verify import check_answers
from tfembed.export.versions import new_version
from tfembed.export.warmup import BATCH_SIZES, warmup_requests, write_warmup
from tfembed.formats.image_metadata import write_metadata
from tfembed.formats.run_config import agreed_resize, run_resize
from tfembed.ops.arguments import as_count
from tfembed.ops.image_formats import DECODER_VERSION
from tfembed.progress import TimedLines


def export_model(run_dir, model_base, *, head="auto", report=print, **options):
    """Publishes a run's encoder and gallery as the next version of a served model.

    The run's `queries.npz`, if it has one, are the held-out queries, and its `queries/`
    the samples; its `config.json` and `result.json` go into the model card.

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
    encoder,
    gallery,
    path,
    *,
    k=10,
    head="auto",
    recall=0.95,
    head_options=None,
    queries=None,
    threshold=None,
    false_rejection=None,
    vote_k=None,
    image_shape=None,
    resize=None,
    normalize=False,
    class_names=None,
    samples=None,
    score_megabytes=128,
    max_pixels=MAX_PIXELS,
    warmup_batches=BATCH_SIZES,
    facts=None,
    report=print,
):
    """Publishes an encoder and a gallery as the next version of a served model.

    The version is written to a hidden folder, checked (stock ops only; loaded by a
    fresh process, through TensorFlow's C API and by `tf.saved_model.load`; its answers
    compared with Python's; its warm-up requests replayed) and then renamed to its
    number, so that a server sees all of it or nothing. If anything fails, the error is
    all that is left.

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
    source = facts.pop("source", None) or _source(gallery)
    gallery = _as_gallery(gallery, class_names, normalize)
    if vote_k is not None:
        gallery = _with(gallery, vote_k=int(vote_k))
    queries = _as_queries(queries, gallery.dim, normalize)
    say(f"gallery of {gallery.size:,} images, {gallery.dim} dimensions")
    mean, warning = describe_alikeness(gallery, say, report is None)
    encoder = ExportedEncoder(encoder, image_shape, normalize, resize)
    if encoder.dim != gallery.dim:
        raise ValueError(
            f"The encoder must give embeddings (batch, {gallery.dim}), as long as the "
            f"gallery's. Received: outputs (batch, {encoder.dim}). "
            "Embed the gallery with this encoder again."
        )
    images = encode_samples(samples, encoder.image_shape)
    encoder.check_unit(_decoded(images, encoder))
    say(
        f"loaded the encoder: images {encoder.image_shape}, {encoder.resize}, "
        f"{encoder.precision}"
    )
    if k > gallery.size:
        say(f"answers have {gallery.size} neighbours, the whole gallery, not {k}")
    chosen = choose_threshold(gallery, queries, threshold, false_rejection)
    gallery = _with(gallery, known_threshold=chosen.value)
    say(_said_of(chosen))
    if head not in HEADS.parts and head != "auto":
        check_head(head, gallery.dim)
        say(f"tried the head {head} on small galleries")
    asked = {
        "recall": recall,
        "queries": None if queries is None else queries.embeddings,
        "k": min(k, gallery.size),
    }
    if head == "auto":
        head_state = build_chosen(gallery.embeddings, say, **asked)
        head = head_state.card["head"]
    else:
        head_state = build_head(
            head, gallery.embeddings, head_options, progress=say, **asked
        )
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
        del state, head_state.arrays
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
        checks = check_answers(version.path, encoder, gallery, head, k, images)
        say(
            f"asked it {len(images)} images in a fresh process, by "
            f"{' and '.join(checks['runtimes'])}: embeddings within "
            f"{checks['embeddings_within']:.1g} of Python's, scores within "
            f"{checks['scores_within']:.1g} of brute force; "
            f"{checks['warmup_requests']} warm-up requests replayed"
        )
        digest = gallery_sha256(gallery)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        card = {
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
                "normalize": bool(normalize),
            },
            "gallery": {
                "size": gallery.size,
                "sha256": digest,
                "classes": gallery.class_names.tolist(),
                "source": source,
                "created": created,
                "mean_cosine": mean,
                "metadata": columns,
            },
            "head": head_state.card,
            "query": {"examples": MOST, "exact": what_is_exact(head)},
            "k": int(k),
            "max_pixels": int(max_pixels),
            "known": {
                "threshold": chosen.value,
                "calibrated_on": chosen.calibrated_on,
                "false_rejection": chosen.false_rejection,
                "queries": chosen.queries,
                "gallery_sha256": digest,
                "stale": False,
            },
            "vote": {"temperature": gallery.vote_temperature, "k": gallery.vote_k},
            **facts,
            "checks": checks,
            "warnings": [] if warning is None else [warning],
        }
        write_card(version.path, card)
    say(f"published version {version.number}: {version.path}")
    return version.path


def _as_gallery(gallery, class_names, normalize):
    if isinstance(gallery, (str, Path)):
        gallery = read_gallery(gallery, normalize, class_names)
    elif isinstance(gallery, Gallery):
        gallery = make_gallery(vars(gallery), normalize=normalize)
    elif hasattr(gallery, "keys"):
        gallery = make_gallery(gallery, "`gallery`", normalize, class_names)
    else:
        raise TypeError(
            "`gallery` must be a Gallery, the path of a .npz file, or a mapping of "
            f"`embeddings`, `labels` and `ids`. Received: {type(gallery).__name__}."
        )
    if class_names is not None:
        arrays = {**vars(gallery), "class_names": np.asarray(class_names, str)}
        gallery = make_gallery(arrays, "`class_names`")
    return gallery


def _as_queries(queries, dim, normalize):
    if queries is None:
        return None
    if isinstance(queries, (str, Path)):
        queries = read_queries(queries, normalize)
    elif not isinstance(queries, Queries):
        queries = make_queries(queries, normalize=normalize)
    if queries.embeddings.shape[1] != dim:
        raise ValueError(
            f"`queries` must be embeddings of {dim} numbers, as the gallery's. "
            f"Received: {queries.embeddings.shape[1]}."
        )
    return queries


def _source(gallery):
    return str(gallery) if isinstance(gallery, (str, Path)) else "arrays"


def _with(gallery, **changes):
    return Gallery(**{**vars(gallery), **changes})


def _decoded(encoded_images, encoder):
    from tfembed.ops.images import decode_image

    try:
        return np.stack(
            [
                decode_image(each, encoder.image_shape, resize=encoder.resize)
                for each in encoded_images
            ]
        )
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            "`samples` must be JPEG, PNG, GIF or BMP images. Received: one that does "
            f"not decode: {error.message}"
        ) from error


def _said_of(chosen):
    if chosen.false_rejection is None:
        return f"threshold {chosen.value:.4g}: {chosen.calibrated_on}"
    return (
        f"threshold {chosen.value:.4g}: {chosen.calibrated_on}; it rejects "
        f"{100 * chosen.false_rejection:.2g} % of {chosen.queries:,} genuine queries"
    )


def check_options(head="auto", **options):
    """Checks the arguments of `export` that can be checked without a model.

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
