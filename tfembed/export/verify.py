"""Compares the answers of an export, loaded as a server loads it, with Python's.

Three comparisons, each against something that shares no code with the graph:

- embeddings with the Keras encoder's own, run here (`EMBEDDING_TOLERANCE`, or
  `MIXED_TOLERANCE` if a layer computes in half precision, where the order of sums
  shows);
- neighbours with all cosines in NumPy float64 (`SCORE_TOLERANCE`): the score at each
  rank must be the score of that rank, and each id must have that score. Rows that lie
  within the tolerance of each other may therefore change places, no others;
- the vote with its formula in NumPy (`VOTE_TOLERANCE`), but where the last voter has
  a rival within the score tolerance.
"""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfembed.ops.images import decode_image

EMBEDDING_TOLERANCE = 1e-5
MIXED_TOLERANCE = 2e-2
SCORE_TOLERANCE = 1e-5
VOTE_TOLERANCE = 2e-3

_BROKEN = b"these bytes are no image"
_SEARCH_OUTPUTS = {
    "ids": "string",
    "labels": "string",
    "scores": "float32",
    "vote": "string",
    "vote_probability": "float32",
    "known": "bool",
    "valid": "bool",
}
_EMBED_OUTPUTS = {"embeddings": "float32", "valid": "bool"}


def check_answers(saved_model_dir, encoder, image_shape, gallery, k, encoded_images):
    """Loads an export in a fresh process and compares what it answers.

    Args:
        saved_model_dir: Folder of the SavedModel.
        encoder: The Keras model that it was made from.
        image_shape: `(height, width, channels)`.
        gallery: The `Gallery` that it was made from.
        k: Neighbours that it was made with.
        encoded_images: Sample images, encoded, at least one.

    Returns:
        The largest differences found: a dict of `embeddings` and `scores`.

    Raises:
        RuntimeError: If the export does not load, or answers otherwise.
    """
    images = np.stack([decode_image(each, image_shape) for each in encoded_images])
    with tf.device("CPU"):
        expected = np.asarray(tf.cast(encoder(images, training=False), tf.float32))
    as_bytes = np.array([*encoded_images, _BROKEN], dtype=object)
    requests = [
        ("embed", {"images": images}),
        ("search_images", {"images": images}),
        ("embed_bytes", {"image_bytes": as_bytes}),
        ("search_bytes", {"image_bytes": as_bytes}),
        ("serving_default", {"image_bytes": as_bytes[:1]}),
        ("search_images", {"images": images[:0]}),
        ("search_bytes", {"image_bytes": as_bytes[-1:]}),
    ]
    answers, described = ask_in_fresh_process(saved_model_dir, requests)
    _check_signatures(described, image_shape)
    for (name, inputs), answer in zip(requests, answers):
        size = len(next(iter(inputs.values())))
        _require(
            all(value.shape[:1] == (size,) for value in answer.values()),
            f"`{name}` must give {size} rows for {size} inputs",
        )
    by_images, by_bytes = answers[0], answers[2]
    _check_broken(by_bytes, answers[3])
    _check_broken(by_bytes, answers[6])
    norms = np.linalg.norm(expected, axis=1)
    _require(
        np.abs(norms - 1).max() < 1e-2,
        f"scores are cosines, but the encoder gives embeddings of length "
        f"{norms[np.abs(norms - 1).argmax()]:.3g}, not 1",
    )
    tolerance = MIXED_TOLERANCE if _is_mixed(encoder) else EMBEDDING_TOLERANCE
    worst = {"embeddings": 0.0, "scores": 0.0}
    for given in (by_images["embeddings"], by_bytes["embeddings"][:-1]):
        off = float(np.abs(given - expected).max())
        worst["embeddings"] = max(worst["embeddings"], off)
    _require(
        worst["embeddings"] <= tolerance,
        f"embeddings differ from the encoder's by {worst['embeddings']:.2g}, more than "
        f"{tolerance:g}",
    )
    pairs = [
        (by_images["embeddings"], answers[1]),
        (by_bytes["embeddings"][:-1], {n: v[:-1] for n, v in answers[3].items()}),
    ]
    if not _is_mixed(encoder):  # there, another batch size may round otherwise
        pairs.append((by_bytes["embeddings"][:1], answers[4]))
    for queries, answer in pairs:
        off = _check_search(queries, answer, gallery, k)
        worst["scores"] = max(worst["scores"], off)
    return worst


def ask_in_fresh_process(saved_model_dir, requests, seconds=900):
    """Runs requests on a SavedModel in a process that imports only TensorFlow.

    Args:
        saved_model_dir: Folder of the SavedModel.
        requests: List of `(signature name, {input name: array})`.
        seconds: How long to wait.

    Returns:
        A list of `{output name: array}`, and the signatures' inputs and outputs.

    Raises:
        RuntimeError: If it fails, with what the process said.
    """
    script = Path(__file__).with_name("replay.py")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "requests"), Path(folder, "answers")
        asked.write_bytes(pickle.dumps(requests))
        command = [sys.executable, script, saved_model_dir, asked, answered]
        try:
            process = subprocess.run(
                [str(part) for part in command],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"The exported model did not answer within {seconds} s."
            ) from error
        if process.returncode:
            said = process.stderr.strip().splitlines()[-1:] or ["nothing"]
            raise RuntimeError(
                "The exported model does not run in a process that has only "
                f"TensorFlow (exit status {process.returncode}). It says: {said[0]}"
            )
        return pickle.loads(answered.read_bytes())


def _require(holds, what):
    if not holds:
        raise RuntimeError(f"The exported model does not answer as it should: {what}.")


def _check_signatures(described, image_shape):
    images = {"images": ("float32", [None, *image_shape])}
    image_bytes = {"image_bytes": ("string", [None])}
    wanted = {
        "embed": {"inputs": images, "outputs": _EMBED_OUTPUTS},
        "embed_bytes": {"inputs": image_bytes, "outputs": _EMBED_OUTPUTS},
        "search_images": {"inputs": images, "outputs": _SEARCH_OUTPUTS},
        "search_bytes": {"inputs": image_bytes, "outputs": _SEARCH_OUTPUTS},
        "serving_default": {"inputs": image_bytes, "outputs": _SEARCH_OUTPUTS},
    }
    _require(described == wanted, f"its signatures are {described}, not {wanted}")


def _check_broken(embedded, found):
    """The last image of the batch is no image; the others are."""
    _require(
        embedded["valid"].tolist() == [True] * (len(embedded["valid"]) - 1) + [False],
        f"`valid` is {embedded['valid'].tolist()}, where only the last image is broken",
    )
    _require(
        not found["valid"][-1]
        and not found["known"][-1]
        and not found["scores"][-1].any()
        and set(found["ids"][-1]) == {b""}
        and found["vote"][-1] == b"",
        "a broken image has neighbours",
    )


def _check_search(queries, answer, gallery, k):
    """Compares one search with brute force; the largest difference of scores."""
    scores = _all_scores(queries, gallery.embeddings)
    k = min(k, gallery.size)
    voters = min(gallery.vote_k, gallery.size)
    best = -np.sort(-scores, axis=1)[:, : max(k, voters) + 1]
    _require(
        all(answer[name].shape[1:] == (k,) for name in ("ids", "labels", "scores")),
        f"it gives {answer['scores'].shape[1]} neighbours, not {k}",
    )
    off = float(np.abs(answer["scores"] - best[:, :k]).max())
    _require(
        off <= SCORE_TOLERANCE,
        f"scores differ from NumPy's by {off:.2g}, more than {SCORE_TOLERANCE:g}",
    )
    found = sorted({name.decode() for name in answer["ids"].ravel()})
    found = np.flatnonzero(np.isin(gallery.ids, found))
    row_of = {str(gallery.ids[row]): row for row in found}
    names = np.array(["", *gallery.class_names.tolist()])
    for query in range(len(queries)):
        ids = [name.decode() for name in answer["ids"][query]]
        rows = [row_of.get(name, -1) for name in ids]
        own = scores[query, rows]
        _require(
            min(rows) >= 0
            and len(set(rows)) == k
            and np.abs(own - answer["scores"][query]).max() <= SCORE_TOLERANCE,
            f"the neighbours {ids} do not have the scores {answer['scores'][query]}",
        )
        labels = [name.decode() for name in answer["labels"][query]]
        _require(
            labels == names[gallery.labels[rows].clip(-1) + 1].tolist(),
            f"the neighbours {ids} have the labels {labels}",
        )
        known = best[query, 0] >= gallery.known_threshold
        close = abs(best[query, 0] - gallery.known_threshold) <= SCORE_TOLERANCE
        _require(
            close or bool(answer["known"][query]) == bool(known),
            f"a best score of {best[query, 0]:.4f} is known={answer['known'][query]}",
        )
        if voters < gallery.size:
            rival = best[query, voters - 1] - best[query, voters] <= 2 * SCORE_TOLERANCE
            if rival:
                continue
        _check_vote(
            scores[query],
            gallery,
            voters,
            answer["vote"][query].decode(),
            float(answer["vote_probability"][query]),
        )
    return off


def _all_scores(queries, embeddings, rows=1 << 16):
    """All cosines in float64, `(queries, n)`, without a second gallery in memory."""
    queries = queries.astype(np.float64)
    starts = range(0, len(embeddings), rows)
    parts = [queries @ embeddings[i : i + rows].T.astype(np.float64) for i in starts]
    return np.concatenate(parts, axis=1)


def _check_vote(scores, gallery, voters, vote, probability):
    rows = np.argsort(-scores, kind="stable")[:voters]
    weights = np.exp((scores[rows] - scores[rows[0]]) / gallery.vote_temperature)
    labels = gallery.labels[rows]
    shares = np.zeros(max(len(gallery.class_names), 1))
    np.add.at(shares, labels[labels >= 0], weights[labels >= 0])
    if not shares.sum() > 0:
        _require(vote == "" and probability == 0, f"without labels it votes {vote!r}")
        return
    shares /= shares.sum()
    share = dict(zip(gallery.class_names.tolist(), shares)).get(vote, -1.0)
    _require(
        share >= shares.max() - VOTE_TOLERANCE
        and abs(share - probability) <= VOTE_TOLERANCE,
        f"it votes {vote!r} with probability {probability:.4f}, where the formula "
        f"gives it {share:.4f} and the winner {shares.max():.4f}",
    )


def _is_mixed(encoder):
    layers = encoder._flatten_layers() if hasattr(encoder, "_flatten_layers") else []
    return any(
        getattr(layer, "compute_dtype", "float32") in ("float16", "bfloat16")
        for layer in layers
    )
