"""How far a long work is, now and then."""

import time

from tfembed.callbacks.pace import duration

_SECONDS_BETWEEN_REPORTS = 5.0


class Progress:
    """Says how far a stage is, and how long it will take.

    Args:
        say: Given a line now and then; `None` for none.
    """

    def __init__(self, say):
        self._say = say
        self._stage, self._start, self._said = None, 0.0, 0.0

    def step(self, stage, done, total):
        """Takes note that so much of a stage is done."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._start, self._said = stage, now, now
            self._before = done
        elif self._say and now - self._said >= _SECONDS_BETWEEN_REPORTS:
            self._said = now
            pace = (now - self._start) / max(done - self._before, 1)
            left = duration(pace * (total - done))
            self._say(f"{stage}: {done:,} of {total:,}, about {left} left")
