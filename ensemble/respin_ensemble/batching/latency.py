"""How long a UNet's calls take, from those that were made, and what follows for a request that would come now."""

from __future__ import annotations

from typing import NamedTuple

WEIGHT = 0.1
"""Of the newest call: ten calls ago counts a third."""


class Forecast(NamedTuple):
    """When a request's samples would be done, in seconds from now; 0 where no call was made yet.

    Args:
        at_best_s: if nothing else were here and every call took as long as the fastest did.
        now_s: with what is here, by the usual pace.
    """

    at_best_s: float
    now_s: float


class Pace:
    """What calls took, by the number of samples that shared them: on a CPU eight cost eight, on a GPU nearly one.

    Args:
        slots: of a call.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._usual_s: dict[int, float] = {}
        self._fastest_s: dict[int, float] = {}

    def record(self, samples: int, call_s: float) -> None:
        """Take the duration, in seconds, of a call of so many samples in."""
        self._usual_s[samples] = (1 - WEIGHT) * self._usual_s.get(samples, call_s) + WEIGHT * call_s
        self._fastest_s[samples] = min(self._fastest_s.get(samples, call_s), call_s)

    def forecast(self, *, steps: int, samples: int, load: int) -> Forecast:
        """When a request would be done if it came now.

        Args:
            steps: of each of its samples.
            samples: of the request.
            load: slots that others still need.
        """
        own = samples * steps
        # Round-robin: until it is done, the others get at most what they would with a slot less.
        all_slots = own + min(load, steps * self._slots)
        return Forecast(self._lasting(self._fastest_s, steps, own), self._lasting(self._usual_s, steps, all_slots))

    def _lasting(self, measured_s: dict[int, float], steps: int, slots: int) -> float:
        """Seconds that it takes to work through so many slots in at least so many calls."""
        calls = max(steps, -(-slots // self._slots))
        return calls * _of_size(measured_s, min(self._slots, -(-slots // calls)))


def _of_size(measured_s: dict[int, float], samples: int) -> float:
    """What a call of so many samples takes, at least: as long as the nearest that was measured, or its share of it."""
    if not measured_s:
        return 0.0
    nearest = min(measured_s, key=lambda size: (abs(size - samples), size))
    return measured_s[nearest] * min(1.0, samples / nearest)
