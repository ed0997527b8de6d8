"""Compares the answers of an export, loaded as a server loads it, with Python's.

Everything is compared with something that shares no code with the graph:

- embeddings with the Keras encoder's own, run here (`EMBEDDING_TOLERANCE`, or
  `MIXED_TOLERANCE` if a layer computes in half precision, where the order of sums
  shows);
- neighbours with all cosines in NumPy float64 (`SCORE_TOLERANCE`): the score at each
  rank must be the score of that rank, and each id must have that score. Rows that lie
  within the tolerance of each other may therefore change places, no others. An
  approximate head may miss rows; what it finds must have the scores that it says. Of
  a head that keeps rows rounded, the cosines are those with the rows as it keeps them
  (`kept`), or within its `tolerance` if it does not say how. Filtered searches, and
  those with few rows of a label, are exact whatever the head;
- the vote with its formula in NumPy (`VOTE_TOLERANCE`), but where the last voter has
  a rival within the score tolerance, or the head is approximate.
"""

from concurrent.futures import ThreadPoolExecutor

from tfembed.export.check_requests import Checks
from tfembed.export.comparison import require, shapes
from tfembed.export.expected_signatures import expected_signatures
from tfembed.export.fresh_process import ask_in_fresh_process
from tfembed.export.native import find_libraries
from tfembed.export.replay import asked
from tfembed.export.warmup import read_warmup

# Processes that hold galleries up to this size run at the same time.
_AT_ONCE = 1 << 30


def check_answers(saved_model_dir, encoder, gallery, head, k, encoded_images):
    """Loads an export in a fresh process and compares what it answers.

    One process asks every signature through TensorFlow's C API, without any Python of
    TensorFlow, and replays the warm-up file. Another loads the export by
    `tf.saved_model.load`, looks at its signatures and asks one of them; all, if the
    TensorFlow that is installed comes without its C API.

    Args:
        saved_model_dir: `pathlib.Path` of the SavedModel.
        encoder: The `ExportedEncoder` that it was made from.
        gallery: The `Gallery` that it was made from.
        head: Name of its head.
        k: Neighbours that it was made with.
        encoded_images: Sample images, encoded, at least one.

    Returns:
        What was checked, for the model card: the largest differences found,
        `embeddings` and `scores`, `images`, `runtimes`, `warmup_requests`.

    Raises:
        RuntimeError: If the export does not load, or answers otherwise.
    """
    checks = Checks(encoder, gallery, head, k, encoded_images)
    warmup = read_warmup(saved_model_dir)
    requests = [(name, inputs) for name, inputs, _ in checks.requests]
    everything = [*requests, *warmup]
    # One answer for all that Python shares with the C API; all where there is none.
    brief = [each for each in requests if each[0] == "search_bytes"][:1]
    runtimes = {"native": everything, "python": brief}
    if not find_libraries():
        runtimes = {"python": everything}
    small = gallery.embeddings.nbytes <= _AT_ONCE
    with ThreadPoolExecutor(len(runtimes) if small else 1) as pool:
        found = [
            pool.submit(ask_in_fresh_process, saved_model_dir, those, runtime)
            for runtime, those in runtimes.items()
        ]
        found = [each.result() for each in found]
    for those, (answers, _) in zip(runtimes.values(), found):
        for (name, inputs), answer in zip(those, answers):
            size = len(next(iter(inputs.values())))
            require(
                all(value.shape[:1] == (size,) for value in answer.values()),
                f"{asked(name, inputs)} gives {shapes(answer)}",
            )
        checked = checks.requests
        if those is brief:
            checked = [each for each in checked if each[0] == "search_bytes"][:1]
        for (name, inputs, check), answer in zip(checked, answers):
            try:
                check(answer)
            except RuntimeError as error:
                request = asked(name, inputs)
                raise RuntimeError(f"{error} Asked was {request}.") from None
    described = found[-1][1]
    wanted = expected_signatures(encoder.image_shape, encoder.dim)
    require(described == wanted, f"its signatures are {described}, not {wanted}")
    said = {"native": "TensorFlow's C API", "python": "tf.saved_model.load"}
    return {
        "embeddings_within": checks.worst["embeddings"],
        "scores_within": checks.worst["scores"],
        "images": len(encoded_images),
        "runtimes": [said[name] for name in runtimes],
        "warmup_requests": len(warmup),
    }
