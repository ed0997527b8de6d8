"""How far a long work is, said now and then, and how long things take, in words."""

import time

_SECONDS_BETWEEN_REPORTS = 5.0


def duration(seconds):
    """Says a number of seconds in words: `"45 s"`, `"3 min"`, `"2 h 5 min"`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Says now and then how far a work is, and how long it will take.

    A line is such as `embedding: 24,000 of 100,000 images, 429 a second, 3 min left`.
    What was done before the first step is no measure of the pace, nor is that step,
    with which much begins.

    Args:
        say: Given a line; `None` for none.
        total: How much there is to do.
        unit: What is counted, such as `"images"`; may be empty.
        stage: What is done, said before each line; may be empty.
        done: How much was done in an earlier life.
    """

    def __init__(self, say, total, unit="", stage="", done=0):
        self._say = say or (lambda line: None)
        self._total = total
        self._unit = f" {unit}" if unit else ""
        self._stage = f"{stage}: " if stage else ""
        self._done = self._before = done
        self._start = self._said = time.monotonic()
        self._first = None  # when, and after how much
        if done:
            self._say(f"going on after {done:,} of {total:,}{self._unit}")

    @property
    def seconds(self):
        """How long it has been going on."""
        return time.monotonic() - self._start

    def step(self, count=1):
        """Counts `count` more as done."""
        self.reach(self._done + count)

    def reach(self, done):
        """Sets how much is done, including what was done before."""
        self._done = done
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        elif now - self._said >= _SECONDS_BETWEEN_REPORTS:
            self._said = now
            since, before = self._first
            rate = (done - before) / max(now - since, 1e-9)
            left = duration((self._total - done) / max(rate, 1e-9))
            self._say(
                f"{self._stage}{done:,} of {self._total:,}{self._unit}, "
                f"{rate:,.0f} a second, {left} left"
            )

    def end(self):
        """Says how much was done, and in which time."""
        count = self._done - self._before
        self._say(f"{self._stage}{count:,}{self._unit} in {duration(self.seconds)}")


class Stages:
    """The `Progress` of works that follow each other.

    Args:
        say: As for `Progress`.
    """

    def __init__(self, say):
        self._say = say
        self._stage = self._progress = None

    def step(self, stage, done, total):
        """Sets how much of a stage is done."""
        if stage != self._stage:
            self._stage = stage
            self._progress = Progress(self._say, total, stage=stage)
        self._progress.reach(done)


class TimedLines:
    """Says lines, each with the seconds since the last one.

    Args:
        say: Given a line; `None` for none.

    Attributes:
        silent: Whether nobody is given a line.
    """

    def __init__(self, say):
        self._say, self.silent = say, say is None
        self._last = time.perf_counter()

    def __call__(self, line):
        """Says a line."""
        now = time.perf_counter()
        if not self.silent:
            self._say(f"{line} ({now - self._last:.1f} s)")
        self._last = now
