"""What the hints of public functions are made of: types of what is taken and given.

TensorFlow has no types of its own, so that for a type checker `tf.Tensor` is anything.
`Array` says what is asked of a tensor, and a text in its place is an error.

Importing this imports neither TensorFlow nor NumPy.
"""

import os
from collections.abc import Sequence
from typing import Any, Protocol, Union

__all__ = ["Array", "Label", "Labels", "Logs", "Number", "PathLike", "Rows"]


class Array(Protocol):
    """A tensor or variable of TensorFlow, an array of NumPy, or what is like them."""

    @property
    def dtype(self) -> Any:
        """The type of its numbers."""

    @property
    def shape(self) -> Any:
        """Its shape."""


Number = Union[float, Array]  # a setting that may be trained, or driven by a schedule
Rows = Union[Array, Sequence[Array], Sequence[Sequence[float]]]  # (rows, dim)
Label = Union[int, str]
Labels = Union[Array, Sequence[Any]]  # (rows,)
PathLike = Union[str, os.PathLike[str]]
Logs = dict[str, Any]  # what Keras hands to a callback
