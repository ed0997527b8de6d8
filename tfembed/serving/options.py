"""What a search may be asked besides k and filters, checked before anything is sent."""

import numpy as np

from tfembed.ops.arguments import as_count, as_number

NO_LIMIT = 2**31 - 1
LEAST_SCORE = -1.0


class Options:
    """From which score on neighbours count, and how many of one label are shown.

    Args:
        min_score: From -1 to 1; None: all count.
        per_label: At least 1; None: any number.

    Attributes:
        asked: Whether there is one of them.

    Raises:
        ValueError: If one is out of range, or no number.
    """

    def __init__(self, min_score=None, per_label=None):
        self.asked = min_score is not None or per_label is not None
        self._min_score = LEAST_SCORE
        if min_score is not None:
            self._min_score = as_number("min_score", min_score, -1, 1)
        self._per_label = NO_LIMIT
        if per_label is not None:
            note = ", or None for no limit"
            self._per_label = min(as_count("per_label", per_label, note=note), NO_LIMIT)

    def inputs(self, count):
        """Returns the inputs of a request, one row a query."""
        return {
            "min_score": np.full(count, self._min_score, np.float32),
            "per_label": np.full(count, self._per_label, np.int32),
        }


def check_weight(value):
    """Returns a weight of negative examples.

    Raises:
        ValueError: If it is not a number from 0 to 1.
    """
    return as_number("negative_weight", value, 0, 1)
