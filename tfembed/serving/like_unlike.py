"""The examples of a question: like these, unlike those."""

import numpy as np

from tfembed.serving.images import EmbeddingQueries, Images

MOST = 64
"""The most examples of a question, positive and negative together."""

KINDS = ("positive", "negative")


class Examples:
    """Positive and negative examples of one question.

    Args:
        ids: `{kind: list of ids or None}` for both of `KINDS`.
        embeddings: `{kind: (m, d) or (d,) array or None}`.
        images: `{kind: images or None}`, which are to be embedded: see `add_embedded`.

    Attributes:
        images: `{kind: Images}` of those that are given.

    Raises:
        TypeError: If an argument is something else.
        ValueError: If there is no positive example, there are too many, or one is
            empty or not finite.
    """

    def __init__(self, ids, embeddings, images):
        self._ids = {kind: _read_ids(f"{kind}_ids", ids[kind]) for kind in KINDS}
        self._embeddings = {
            kind: _read_embeddings(f"{kind}_embeddings", embeddings[kind])
            for kind in KINDS
        }
        self.images = {
            kind: Images(given) for kind, given in images.items() if given is not None
        }
        positive = self._ids["positive"], self._embeddings["positive"]
        if not any(map(len, positive)) and "positive" not in self.images:
            raise ValueError(
                "A question must have a positive example: give `positive_ids`, "
                "`positive_embeddings` or `positive_images`. Received: none."
            )
        self._check_count(sum(each.total or 0 for each in self.images.values()))

    def _check_count(self, more=0):
        given = (*self._ids.values(), *self._embeddings.values())
        number = sum(map(len, given)) + more
        if number > MOST:
            raise ValueError(
                f"A question must have at most {MOST} examples, positive and negative "
                f"together. Received: {number}. Take some, or the mean of some."
            )

    def add_embedded(self, kind, found):
        """Adds images that were embedded.

        Args:
            kind: `"positive"` or `"negative"`.
            found: Their `Embeddings`.

        Raises:
            ValueError: If one could not be read, or there are too many.
        """
        bad = np.flatnonzero(~found.valid)
        if len(bad):
            raise ValueError(
                f"`{kind}_images` must be images that the model can read. "
                f"Received: image {bad[0]}, which it cannot."
            )
        rows = [*self._embeddings[kind], *found.embeddings]
        self._embeddings[kind] = np.asarray(rows, np.float32)
        self._check_count()

    def lists(self):
        """Returns the lists of ids, `{name of the input: [list]}`, of one row."""
        return {f"{kind}_ids": [self._ids[kind]] for kind in KINDS}

    def bytes(self, dim):
        """Returns the embeddings as bytes, `{name of the input: [bytes]}`.

        Args:
            dim: Length of an embedding of the model.

        Raises:
            ValueError: If they are of another length.
        """
        for kind, rows in self._embeddings.items():
            if len(rows) and rows.shape[1] != dim:
                raise ValueError(
                    f"`{kind}_embeddings` must have the shape (m, {dim}), as the "
                    f"model's embeddings. Received: {rows.shape}. Embed the images "
                    "with this model."
                )
        return {
            f"{kind}_embeddings": [rows.astype("<f4").tobytes()]
            for kind, rows in self._embeddings.items()
        }


def _read_ids(name, given):
    wrong = f"`{name}` must be a list of ids, strings. Received: {name}={given!r}."
    if given is None:
        return []
    if isinstance(given, (str, bytes)):
        raise TypeError(wrong)
    try:
        ids = list(given)
    except TypeError:
        raise TypeError(wrong) from None
    if not all(isinstance(each, str) for each in ids):
        raise TypeError(wrong)
    if "" in ids:
        raise ValueError(
            f"`{name}` must not have empty strings, which are not ids. "
            f"Received: {name}={ids!r}."
        )
    return [str(each) for each in ids]


def _read_embeddings(name, given):
    if given is None:
        return np.empty((0, 0), np.float32)
    try:
        (batch,) = EmbeddingQueries(given).batches(None, 2**31, 2**62, None)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("embeddings", name, 1)) from None
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(batch.values.astype(np.float64), axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(
            f"`{name}` must be finite, and of a length above 0. Received: row "
            f"{int(np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))[0])}, which "
            "is not."
        )
    return batch.values
