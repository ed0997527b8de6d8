"""How far a long question has come, for a person to see."""

import sys
import time

_SECONDS_BETWEEN = 0.2


def reporter(progress, images):
    """Makes the function that is told how many images are done.

    Args:
        progress: True for a line on standard error that is written anew, False or None
            for nothing, or a function of `(done, total)`.
        images: Has a `total`: how many there are, or None where nobody knows yet.

    Returns:
        Function of `(done, finished=False)`: the number of images, and whether no
        more come.

    Raises:
        TypeError: If `progress` is something else.
    """
    if progress is None or progress is False:
        return lambda done, finished=False: None
    if progress is True:
        return _Line(images)
    if not callable(progress):
        raise TypeError(
            "`progress` must be True, False or a function of (done, total). "
            f"Received: progress={progress!r}."
        )

    def tell(done, finished=False):
        if not finished:
            progress(done, images.total)

    return tell


class _Line:
    """A line such as `320 of 1000 images, 45.1 a second`."""

    def __init__(self, images):
        self._images = images
        self._started = time.monotonic()
        self._shown = 0.0

    def __call__(self, done, finished=False):
        now = time.monotonic()
        if not finished and now - self._shown < _SECONDS_BETWEEN:
            return
        self._shown = now
        total = self._images.total
        of = "" if total is None else f" of {total}"
        rate = done / max(now - self._started, 1e-9)
        end = "\n" if finished else ""
        sys.stderr.write(f"\r{done}{of} images, {rate:.1f} a second{end}")
        sys.stderr.flush()
