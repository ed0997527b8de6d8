"""What the contract tests know of a loss."""

import dataclasses
from typing import Callable


@dataclasses.dataclass(frozen=True)
class Sample:
    """One setting of a loss, and its independent computation.

    Attributes:
        make: Returns the Keras loss. Takes keyword arguments that are handed on, such
            as `reduction` and `row_chunk`.
        oracle: `oracle(labels, embeddings, ref_labels, ref_embeddings)` returns the
            loss of each row, float64 `(batch,)`, by plain loops from the formula. The
            references are None for the batch against itself. For a loss on
            similarities: `oracle(labels, similarities)`.
        name: What tells this setting from others of the same loss.
        references: Whether the loss takes references.
        chunks: Whether it takes `row_chunk`.
        similarities: The loss is one on similarities to proxies; their number.
        classes: The number of classes, where it is not that of the similarities.
        smooth: Whether the loss's gradient is the derivative of the oracle (at random
            points). Where a part counts as a constant, or is drawn, it is not, and a
            test of its own holds the gradient.
        two_views: Whether every label must come exactly twice.
        in_order: Whether it tells the first view of two from the second by the order of
            the rows; what is permuted then keeps that order.
        draws: Whether the loss depends on draws made from the embeddings' bits; then
            a permutation and rounding leave only its expectation.
        xla: Whether XLA compiles it.
        ties: Whether the value is still the oracle's where similarities are equal
            (identical rows): False for a loss that picks one of several equals.
        refused: Settings `(arguments, a word of the message)` that raise ValueError.
    """

    make: Callable
    oracle: Callable
    name: str = ""
    references: bool = True
    chunks: bool = True
    similarities: int = 0
    classes: int = 0
    smooth: bool = True
    two_views: bool = False
    in_order: bool = False
    draws: bool = False
    xla: bool = True
    ties: bool = True
    refused: tuple = ()
