"""What a client returns: dataclasses of NumPy arrays, one row an image."""

import dataclasses
from typing import Optional

import numpy as np


class _Rows:
    """What results have in common: every field has one row an image."""

    def __len__(self):
        return len(getattr(self, dataclasses.fields(self)[0].name))

    def __getitem__(self, rows):
        """Returns the result of one image (an integer) or of some (a slice, a list)."""
        if isinstance(rows, (int, np.integer)):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"There are {len(self)} rows. Received: {rows}.")
            rows = slice(rows, rows + 1) if rows != -1 else slice(rows, None)
        return type(self)(*(value[rows] for value in self._values()))

    def _values(self):
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    @classmethod
    def joined(cls, parts):
        """Returns results of some images, one after the other, as one.

        Raises:
            ValueError: If they have different numbers of columns.
        """
        columns = zip(*(part._values() for part in parts))
        return cls(*(np.concatenate(values) for values in columns))


@dataclasses.dataclass(frozen=True)
class Embeddings(_Rows):
    """The embeddings of some images.

    >>> from tfembed.serving import Embeddings
    >>> result = Embeddings(np.eye(2, dtype="float32"), np.array([True, False]))
    >>> len(result), result.embeddings[result.valid].shape
    (2, (1, 2))

    Attributes:
        embeddings: float32 `(batch, dim)`.
        valid: bool `(batch,)`; False where the image could not be read.
    """

    embeddings: np.ndarray
    valid: np.ndarray


@dataclasses.dataclass(frozen=True)
class SearchResult(_Rows):
    """The nearest neighbours of some images, the nearest first.

    Where a filter, `min_score` or `per_label` leaves fewer than k rows, the rest of
    `ids` and `labels` is empty and the rest of `scores` 0.

    >>> from tfembed.serving import SearchResult
    >>> result = SearchResult(  # as `Client.search` returns it
    ...     ids=np.array([["a.png", "b.png"]]),
    ...     labels=np.array([["cat", "dog"]]),
    ...     scores=np.array([[0.9, 0.4]], "float32"),
    ...     vote=np.array(["cat"]),
    ...     vote_probability=np.array([0.9], "float32"),
    ...     known=np.array([True]),
    ...     valid=np.array([True]),
    ... )
    >>> result.nearest(1).ids.tolist()
    [['a.png']]

    Attributes:
        ids: str `(batch, k)`.
        labels: str `(batch, k)`, the class of each neighbour; empty if unknown.
        scores: float32 `(batch, k)`, the cosine similarities.
        vote: str `(batch,)`, the class that the model's weighted vote chose. It
            may count more neighbours than the k that are returned.
        vote_probability: float32 `(batch,)`, its share of the weights.
        known: bool `(batch,)`; False where even the nearest neighbour is too far
            for the image to be of a class in the gallery.
        valid: bool `(batch,)`; False where the image could not be read. Nothing
            else in that row means anything then.
        problem: str `(batch,)`: why a row is not valid, in words; empty where it is,
            and where nobody says: the model does for searches with `min_score` or
            `per_label`.
    """

    ids: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    vote: np.ndarray
    vote_probability: np.ndarray
    known: np.ndarray
    valid: np.ndarray
    problem: Optional[np.ndarray] = None

    def __post_init__(self):
        if self.problem is None:
            nothing = np.full(len(self.valid), "", dtype=str)
            object.__setattr__(self, "problem", nothing)

    def nearest(self, k):
        """Returns the result with the nearest `k` neighbours alone.

        Raises:
            ValueError: If there are not so many.
        """
        most = self.scores.shape[1]
        if not 1 <= k <= most:
            raise ValueError(
                f"`k` must be from 1 to {most}, the number of neighbours that the "
                f"model was exported with. Received: k={k}. Export it with a larger "
                "--k for more."
            )
        return dataclasses.replace(
            self,
            ids=self.ids[:, :k],
            labels=self.labels[:, :k],
            scores=self.scores[:, :k],
        )


@dataclasses.dataclass(frozen=True)
class Scores(_Rows):
    """The similarities of some images to given rows of the gallery.

    >>> from tfembed.serving import Scores
    >>> result = Scores(np.array([[0.9, 0.0]]), np.array([[True, False]]))
    >>> result.scores[result.found].tolist()
    [0.9]

    Attributes:
        scores: float32 `(batch, m)`, cosine similarities; 0 where there is no such row.
        found: bool `(batch, m)`; False where the gallery has no such id, and where the
            image could not be read.
    """

    scores: np.ndarray
    found: np.ndarray


@dataclasses.dataclass(frozen=True)
class Classification(_Rows):
    """The classes of some images, the likeliest first.

    >>> from tfembed.serving import Classification
    >>> result = Classification(np.array([["cat", "dog"]]), np.array([[0.9, 0.1]]))
    >>> dict(zip(result.classes[0].tolist(), result.scores[0].tolist()))
    {'cat': 0.9, 'dog': 0.1}

    Attributes:
        classes: str `(batch, c)`; empty where the image could not be read.
        scores: float32 `(batch, c)`, each class' share of the weighted vote.
    """

    classes: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The state of one version of a model.

    >>> from tfembed.serving import VersionStatus
    >>> statuses = [VersionStatus(1, "END"), VersionStatus(2, "AVAILABLE")]
    >>> [each.version for each in statuses if each.state == "AVAILABLE"]
    [2]

    Attributes:
        version: Its number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error_code: `"OK"`, or the code of what went wrong.
        error_message: What went wrong.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """An input or output of a signature.

    >>> from tfembed.serving import TensorSpec
    >>> TensorSpec("float32", (None, 128)).shape[-1]
    128

    Attributes:
        dtype: Name such as `"float32"`.
        shape: Sizes, None where any fits; None if even the rank is free.
    """

    dtype: str
    shape: Optional[tuple]


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a model can be asked.

    >>> from tfembed.serving import Signature, TensorSpec
    >>> signature = Signature(
    ...     inputs={"images": TensorSpec("float32", (None, 224, 224, 3))},
    ...     outputs={"embeddings": TensorSpec("float32", (None, 128))},
    ... )
    >>> signature.inputs["images"].shape[1:]
    (224, 224, 3)

    Attributes:
        inputs: Dictionary of name to `TensorSpec`.
        outputs: Dictionary of name to `TensorSpec`.
    """

    inputs: dict
    outputs: dict


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """The signatures of a served model.

    >>> from tfembed.serving import ModelMetadata
    >>> metadata = ModelMetadata("photos", 3, signatures={})
    >>> metadata.version, "search" in metadata.signatures
    (3, False)

    Attributes:
        name: The model's name.
        version: The version that answered.
        signatures: Dictionary of name to `Signature`.
    """

    name: str
    version: int
    signatures: dict
