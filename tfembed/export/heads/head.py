"""A head of one's own: what stands for it where it says nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.export.heads import exact, kept_rows
from tfembed.export.heads.head_state import HeadState
from tfembed.export.heads.recall import measured_recall


class Head:
    """The base of heads: keeps the rows in `gallery_embeddings`, and them alone.

    A subclass defines `search`, and `build` where it keeps more than the rows, or keeps
    them shorter than float32. One that keeps no array `gallery_embeddings`, of all rows
    in their order, defines all the methods. What each is
    given and returns stands in `tfembed.export.heads`; `tfembed.export.check_head`
    tries all of it.

    Example:
    >>> import tensorflow as tf
    >>> from tfembed.export import Head, check_head
    >>> class Plain(Head):
    ...     exact = True
    ...
    ...     def search(self, variables, queries, k):
    ...         rows = tf.convert_to_tensor(variables["gallery_embeddings"])
    ...         scores = tf.matmul(queries, rows, transpose_b=True)
    ...         return tf.math.top_k(scores, tf.minimum(k, tf.shape(rows)[0]))
    >>> check_head(Plain())

    Attributes:
        exact: Whether `search` always finds the nearest rows: the check before
            publishing then holds it to that.
        tolerance: How far a score may be from the cosine with the row as it was given,
            for heads that keep rows rounded or shortened. What is filtered, and what a
            question with examples finds, has such scores, too.
        carries: Names of the arrays that `build` is given as `previous` when a gallery
            is updated, such as the centroids of cells.
    """

    exact = False
    tolerance = 1e-5
    carries = ()

    def build(
        self,
        embeddings: np.ndarray,
        *,
        recall: float = 0.95,
        queries: np.ndarray | None = None,
        k: int = 10,
        seed: int = 0,
        progress: Callable[[str], object] | None = None,
        previous: Mapping[str, np.ndarray] | None = None,
    ) -> HeadState:
        built = exact.build(embeddings)
        if self.exact:
            return built
        told = self.measure(built.arrays, embeddings, queries, k, seed, progress)
        built.card = {**built.card, **told}
        return built

    def search(
        self, variables: Mapping[str, tf.Variable], queries: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError(
            f"{type(self).__name__} must define `search(self, variables, queries, k)`."
        )

    def pairs(
        self, variables: Mapping[str, tf.Variable], queries: tf.Tensor, rows: tf.Tensor
    ) -> tf.Tensor:
        return kept_rows.pairs(variables, queries, rows)

    def embeddings_of(
        self, variables: Mapping[str, tf.Variable], rows: tf.Tensor
    ) -> tf.Tensor:
        return kept_rows.embeddings_of(variables, rows)

    def score_columns(self, variables: Mapping[str, tf.Variable]) -> Any:
        return tf.shape(variables["gallery_embeddings"])[0]

    def stored_count(self, variables: Any) -> Any:
        return kept_rows.stored_count(variables)

    def stored(self, variables: Any, start: Any, count: Any) -> Any:
        return kept_rows.stored(variables, start, count)

    def measure(
        self,
        arrays: Mapping[str, np.ndarray],
        embeddings: np.ndarray,
        queries: np.ndarray | None = None,
        k: int = 10,
        seed: int = 0,
        progress: Callable[[str], object] | None = None,
    ) -> dict[str, Any]:
        """Measures how many of the nearest rows `search` finds.

        Args:
            arrays: Those of the head, `{name: NumPy array}`.
            embeddings: `(size, dim)`, float32: the gallery.
            queries: `(count, dim)`, embeddings of images that are not in the gallery;
                `None`: rows of the gallery, each without itself.
            k: Neighbours that are counted.
            seed: Of the draw of rows that are queries.
            progress: Is called with a line of text now and then.

        Returns:
            What the model card says of it: `measured`, `recall_at_k`,
            `recall_interval`, `recall_k`, `recall_queries`, `recall_queries_are`.
        """
        embeddings = np.asarray(embeddings, np.float32)
        return measured_recall(self, arrays, embeddings, queries, k, seed, progress)
