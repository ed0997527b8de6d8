"""Images that a function of a user's makes, or of another package.

It is named as `module:function`, or as the package offers it.
"""

from collections.abc import Mapping

import numpy as np

from tfembed.data.npz import source_of
from tfembed.data.sources import SOURCES

__all__ = ["find"]


def find(argument, request):
    """Calls the function, without arguments, for a mapping of arrays.

    Args:
        argument: `module:function`, or a name of `SOURCES`.
        request: Not looked at.

    Raises:
        ValueError: If it is no function, or returns no arrays as an archive holds.
    """
    function = SOURCES.load(argument)
    arrays = function() if callable(function) else function
    if not isinstance(arrays, Mapping):
        raise ValueError(
            "A source of one's own must be a function without arguments that returns "
            "a dictionary of arrays: images and labels, or x_train, y_train, x_test "
            f"and y_test. Received: {argument!r}, "
            + ("which returns" if callable(function) else "which is")
            + f" a {type(arrays).__name__}."
        )
    arrays = {str(name): np.asarray(array) for name, array in arrays.items()}
    return source_of(arrays, argument.rpartition(":")[2], argument)
