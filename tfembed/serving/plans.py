"""Steps of a client that do not wait themselves, so that two clients can take them.

A *plan* is a generator. It yields what is to be done next, is sent the outcome, and has
errors thrown into it: `Client` does the steps one after the other, `AsyncClient` awaits
them. What is asked, in which order, and what is tried again stands in the plan, once.
"""

import dataclasses
import random
import time

from tfembed.serving.errors import ServingError

_FIRST_WAIT = 0.1  # seconds
_LONGEST_WAIT = 5.0


@dataclasses.dataclass(frozen=True)
class Call:
    """A method of the transport to call; the plan is sent what it returns.

    Attributes:
        method: Its name.
        arguments: Its arguments, without the last, `timeout`.
        timeout: Seconds that are left for it.
    """

    method: str
    arguments: tuple
    timeout: float


@dataclasses.dataclass(frozen=True)
class Pause:
    """Seconds to wait."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the answer, for who asked."""

    value: object


def call(method, *arguments, timeout, retries):
    """Plans one request, sent again where the server cannot be reached.

    Args:
        method: Name of the transport's method.
        *arguments: Its arguments.
        timeout: Seconds for all attempts together.
        retries: How often it may be sent again. Only UNAVAILABLE is worth another
            attempt: what was refused once is refused again, and where the time is over
            there is none left.

    Returns:
        What the method returned.

    Raises:
        ServingError: That of the last attempt.
    """
    until = time.monotonic() + timeout
    for wait in [*_waits(retries), None]:
        try:
            return (yield Call(method, arguments, max(until - time.monotonic(), 1e-3)))
        except ServingError as error:
            left = until - time.monotonic()
            if error.code != "UNAVAILABLE" or wait is None or wait >= left:
                raise
        yield Pause(wait)


def _waits(retries):
    """Seconds between attempts: twice as many each time.

    Each is drawn from the upper half, or all clients of a server that was away would
    come back at once.
    """
    longest = (min(_FIRST_WAIT * 2**n, _LONGEST_WAIT) for n in range(retries))
    return [seconds * random.uniform(0.5, 1.0) for seconds in longest]
