"""Steps of a client that do not wait themselves, so that two clients can take them.

A *plan* is a generator. It yields what is to be done next, is sent the outcome, and has
errors thrown into it: `Client` does the steps one after the other, `AsyncClient` awaits
them. What is asked, in which order, and what is tried again stands in the plan, once.
"""

import dataclasses
import itertools
import random
import time

from tfembed.serving.errors import ServerBusy, ServingError

_FIRST_WAIT = 0.1  # seconds
_LONGEST_WAIT = 5.0


@dataclasses.dataclass(frozen=True)
class Turn:
    """A request begins; its calls, and the pauses between them, follow.

    Who bounds how many requests are under way waits here, before the request's time
    runs. The request is over with the first step that is neither call nor pause.
    """


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


def collected(plan):
    """Plans what another plan does, and keeps its parts.

    Returns:
        List of the parts' values.
    """
    parts = []
    act, given = plan.send, None
    while True:
        try:
            step = act(given)
        except StopIteration:
            return parts
        act, given = plan.send, None
        if isinstance(step, Part):
            parts.append(step.value)
            continue
        try:
            given = yield step
        except Exception as error:
            act, given = plan.throw, error


def call(method, *arguments, timeout, retries):
    """Plans one request, sent again where it may help.

    Args:
        method: Name of the transport's method.
        *arguments: Its arguments.
        timeout: Seconds for all attempts together.
        retries: How often it may be sent again where the server cannot be reached
            (UNAVAILABLE). Where it is only busy, and says so, it is asked until the
            time is over; 0 asks once in any case. Nothing else is worth another
            attempt: what was refused once is refused again.

    Returns:
        What the method returned.

    Raises:
        ServingError: That of the last attempt.
    """
    yield Turn()
    until = time.monotonic() + timeout
    lost, busy = 0, None
    for attempt in itertools.count():
        try:
            return (yield Call(method, arguments, max(until - time.monotonic(), 1e-3)))
        except ServerBusy as error:
            last = busy = error
            again = retries > 0
        except ServingError as error:
            if busy is not None and error.code == "DEADLINE_EXCEEDED":
                raise busy from error  # that is why the time is over
            last = error
            lost += 1
            again = error.code == "UNAVAILABLE" and lost <= retries
        wait = _wait(attempt)
        if not again or wait >= until - time.monotonic():
            raise last
        yield Pause(wait)


def _wait(attempt):
    """Seconds before the next attempt: twice as many each time.

    They are drawn from the upper half, or all clients of a server that was away would
    come back at once.
    """
    longest = min(_FIRST_WAIT * 2 ** min(attempt, 10), _LONGEST_WAIT)
    return longest * random.uniform(0.5, 1.0)
