"""Make a call again while the server is full, is restarting, or cannot be reached."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

from respin.errors import Busy

MAX_RETRIES = 6
"""The last retry is made some 36 s after the call: time for a server to restart, on a busy machine too."""

FIRST_CONTACT_RETRIES = 3
"""Most retries of a client's first call, made within some 6 s: there may be no server at all."""

_FIRST_PAUSE_S = 0.5
_FACTOR = 3.0
_MAX_PAUSE_S = 10.0
_JITTER = 0.2

T = TypeVar("T")

Sleep = Callable[[float], None]


def retry(attempt: Callable[[float], T], retries: int, timeout_s: float, sleep: Sleep = time.sleep) -> T:
    """Return what a call returns, made again as long as it raises `Busy`.

    Args:
        attempt: makes the call, given the seconds that are left for it.
        retries: number of further attempts.
        timeout_s: seconds for all attempts and the pauses between them.
        sleep: pauses for some seconds.

    Raises:
        Busy: the last attempt failed, or the time does not allow another.
        RespinError: any other error of an attempt.
    """
    (result,) = retry_stream(lambda left_s: [attempt(left_s)], retries, timeout_s, sleep)
    return result


def retry_stream(
    attempt: Callable[[float], Iterable[T]], retries: int, timeout_s: float, sleep: Sleep = time.sleep
) -> Generator[T, None, None]:
    """Yield what a call yields; it is made again, from its beginning, as long as it raises `Busy`.

    Args:
        attempt: as `retry`.
        retries: as `retry`.
        timeout_s: as `retry`.
        sleep: as `retry`.

    Raises:
        RespinError: as `retry`.
    """
    deadline_s = time.monotonic() + timeout_s
    pauses_s = _pauses_s(retries)
    left_s = timeout_s
    while True:
        try:
            yield from attempt(left_s)
        except Busy:
            pause_s = next(pauses_s, None)
            if pause_s is None or time.monotonic() + pause_s >= deadline_s:
                raise
            sleep(pause_s)
            left_s = deadline_s - time.monotonic()
        else:
            return


def _pauses_s(retries: int) -> Iterator[float]:
    for number in range(retries):
        # Clients that lost the same server must not all come back at once.
        yield min(_FIRST_PAUSE_S * _FACTOR**number, _MAX_PAUSE_S) * random.uniform(1 - _JITTER, 1 + _JITTER)
