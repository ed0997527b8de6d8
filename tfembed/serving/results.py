"""What a client returns: dataclasses of NumPy arrays, one row an image."""

import dataclasses
from typing import Optional

import numpy as np


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """The embeddings of some images.

    Attributes:
        embeddings: float32 `(batch, dim)`.
        valid: bool `(batch,)`; False where the image could not be read.
    """

    embeddings: np.ndarray
    valid: np.ndarray

    def __len__(self):
        return len(self.valid)


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The nearest neighbours of some images, the nearest first.

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
    """

    ids: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    vote: np.ndarray
    vote_probability: np.ndarray
    known: np.ndarray
    valid: np.ndarray

    def __len__(self):
        return len(self.valid)

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
class VersionStatus:
    """The state of one version of a model.

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

    Attributes:
        dtype: Name such as `"float32"`.
        shape: Sizes, None where any fits; None if even the rank is free.
    """

    dtype: str
    shape: Optional[tuple]


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a model can be asked.

    Attributes:
        inputs: Dictionary of name to `TensorSpec`.
        outputs: Dictionary of name to `TensorSpec`.
    """

    inputs: dict
    outputs: dict


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """The signatures of a served model.

    Attributes:
        name: The model's name.
        version: The version that answered.
        signatures: Dictionary of name to `Signature`.
    """

    name: str
    version: int
    signatures: dict
