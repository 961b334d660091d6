"""How long a UNet's calls take, from those that were made, and what follows for a request that would come now."""

from __future__ import annotations

from typing import NamedTuple

WEIGHT = 0.1
"""Of the newest call: ten calls ago counts a third."""


class Forecast(NamedTuple):
    """When a request's samples would be done, in seconds from now; 0 where no call was made yet.

    Args:
        alone_s: if nothing else were here.
        now_s: with what is here.
    """

    alone_s: float
    now_s: float


class Pace:
    """A running mean of a UNet's calls.

    Args:
        slots: of a call.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._call_s: float | None = None

    def record(self, call_s: float) -> None:
        """Take a call's duration, in seconds, in."""
        self._call_s = call_s if self._call_s is None else (1 - WEIGHT) * self._call_s + WEIGHT * call_s

    def forecast(self, *, steps: int, samples: int, load: int) -> Forecast:
        """When a request would be done if it came now.

        Args:
            steps: of each of its samples.
            samples: of the request.
            load: slots that others still need.
        """
        if self._call_s is None:
            return Forecast(0.0, 0.0)
        own = samples * steps
        # Round-robin: until it is done, the others get at most what they would with a slot less.
        others = min(load, steps * self._slots)
        return Forecast(
            max(steps, own / self._slots) * self._call_s, max(steps, (own + others) / self._slots) * self._call_s
        )
