"""Images that a user's function makes, named as `module:function`."""

from collections.abc import Mapping

import numpy as np

from tfembed.data.npz import source_of
from tfembed.registry import find_named

__all__ = ["find"]


def find(argument, request):
    """Calls the function, without arguments, for a mapping of arrays.

    Args:
        argument: `module:function`.
        request: Not looked at.

    Raises:
        ValueError: If it is no function, or returns no arrays as an archive holds.
    """
    function = find_named("dataset", argument)
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
    return source_of(arrays, argument.partition(":")[2], argument)
