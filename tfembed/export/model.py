"""From a finished run to the next served version."""

import json
import time
import zipfile

import numpy as np
import tensorflow as tf

from tfembed import __version__, load_model
from tfembed.export.run_directory import read_run
from tfembed.export.search_model import SearchModel
from tfembed.export.stock_ops import check_stock_ops
from tfembed.export.verify import check_answers
from tfembed.export.versions import is_no_room, new_version, no_room


def export_model(run_dir, model_base, k=10, score_megabytes=128, report=print):
    """Publishes a run's encoder and gallery as the next version of a served model.

    The version is written to a hidden folder, checked (stock ops only; loaded by a
    process that imports only TensorFlow; its answers compared with Python's) and then
    renamed to its number, so that a server sees all of it or nothing. If anything
    fails, the error is all that is left.

    Args:
        run_dir: A finished run directory, with `model.keras` and `gallery.npz`.
        model_base: Folder with one numbered folder a version; made if missing.
        k: Neighbours in an answer; a smaller gallery gives as many as it has.
        score_megabytes: Batches are searched in chunks whose scores take at most this
            much memory.
        report: Is called with a line of progress at a time. `None`: silent.

    Returns:
        `pathlib.Path` of the published version.

    Raises:
        ValueError: If an argument, the run or the model is not fit for it.
        OSError: If the version cannot be written, or the disk has no room.
        RuntimeError: If the export does not answer as Python does.
    """
    say = _Reporter(report)
    _check_positive("k", k)
    _check_positive("score_megabytes", score_megabytes)
    run = read_run(run_dir)
    gallery = run.gallery
    say(f"read {run.path}: gallery of {gallery.size} images, {gallery.dim} dimensions")
    encoder = _load_encoder(run.encoder_path)
    image_shape = check_encoder(encoder, gallery.dim)
    say(f"loaded the encoder: images {image_shape}")
    if k > gallery.size:
        say(f"answers have {gallery.size} neighbours, the whole gallery, not {k}")
    encoder_bytes = sum(int(np.prod(w.shape)) for w in encoder.variables) * 4
    text_bytes = gallery.ids.nbytes // 4 + 24 * gallery.size
    needed = gallery.embeddings.nbytes + 8 * gallery.size + text_bytes + encoder_bytes
    needed = int(1.1 * needed) + (8 << 20)
    with new_version(model_base, needed) as version:
        model = SearchModel(encoder, image_shape, gallery, k, score_megabytes << 20)
        try:
            tf.saved_model.save(model, str(version.path), signatures=model.signatures)
        except (OSError, tf.errors.OpError) as error:
            if is_no_room(error):
                raise no_room(version.base, needed) from error
            raise
        _write_card(version.path, run, image_shape, k)
        say("wrote the SavedModel")
        check_stock_ops(version.path)
        say("checked its ops: stock TensorFlow only")
        samples = run.sample_images() or _noise_images(image_shape)
        worst = check_answers(version.path, encoder, image_shape, gallery, k, samples)
        say(
            f"asked it {len(samples)} images in a fresh process: embeddings within "
            f"{worst['embeddings']:.1g} of Python's, scores within "
            f"{worst['scores']:.1g} of brute force"
        )
    say(f"published version {version.number}: {version.path}")
    return version.path


def check_encoder(encoder, dim):
    """Returns an encoder's image shape, if it is one that can be served.

    Args:
        encoder: A Keras model.
        dim: Length of the gallery's embeddings.

    Returns:
        `(height, width, channels)`.

    Raises:
        ValueError: If it does not take one batch of images of a fixed size, or does
            not give embeddings `(batch, dim)`.
    """
    inputs = getattr(encoder, "inputs", None) or []
    shapes = [tuple(tensor.shape) for tensor in inputs]
    shape = shapes[0] if len(shapes) == 1 else ()
    fixed = len(shape) == 4 and None not in shape[1:] and shape[3] in (1, 3)
    if not fixed or tf.as_dtype(inputs[0].dtype) != tf.float32:
        dtypes = [tf.as_dtype(tensor.dtype).name for tensor in inputs]
        raise ValueError(
            "The encoder must have one input: float32 images (batch, height, width, "
            "channels) of a fixed size, with 1 or 3 channels. "
            f"Received: inputs {shapes} of {dtypes}. "
            "Save the encoder alone, without ids or heads."
        )
    outputs = [tuple(tensor.shape) for tensor in encoder.outputs]
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][1] != dim:
        raise ValueError(
            f"The encoder must give embeddings (batch, {dim}), as long as the "
            f"gallery's. Received: outputs {outputs}. "
            "Embed the gallery with this encoder again."
        )
    return tuple(int(side) for side in shape[1:])


def _load_encoder(path):
    try:
        return load_model(str(path))
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} must be a Keras model that this version of Keras can load, but "
            f"loading it says: {error}"
        ) from error


def _check_positive(name, value):
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}."
        )


def _noise_images(image_shape, count=4):
    """Encoded images to try the export with, for a run without `queries/`."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, *image_shape), dtype=np.uint8)
    return [tf.io.encode_png(each).numpy() for each in pixels]


def _write_card(path, run, image_shape, k):
    """Writes what a client may want to know about the version."""
    gallery = run.gallery
    card = {
        "tfembed": __version__,
        "tensorflow": tf.__version__,
        "recipe": run.config.get("recipe"),
        "dataset": run.config.get("dataset"),
        "head": "exact",
        "k": min(k, gallery.size),
        "image_shape": list(image_shape),
        "dim": gallery.dim,
        "gallery_size": gallery.size,
        "class_names": gallery.class_names.tolist(),
        "known_threshold": gallery.known_threshold,
        "vote_temperature": gallery.vote_temperature,
        "vote_k": min(gallery.vote_k, gallery.size),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    folder = path / "assets.extra"
    folder.mkdir()
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (folder / "tfembed.json").write_text(text, encoding="utf-8")


class _Reporter:
    """Reports a line with the seconds since the last one."""

    def __init__(self, report):
        self._report = report
        self._last = time.perf_counter()

    def __call__(self, line):
        now = time.perf_counter()
        if self._report is not None:
            self._report(f"{line} ({now - self._last:.1f} s)")
        self._last = now
