"""A model of how long the calls of a UNet take, and the forecast that follows for a new request."""

from __future__ import annotations

from typing import NamedTuple, Protocol

SMOOTHING = 0.1
"""Weight of the newest call in the running mean: a call ten calls ago has a third of the weight."""


class LatencyForecast(NamedTuple):
    """The time until the samples of a new request are done, in seconds; 0 before the first call.

    Args:
        best_s: on an idle server, if every call took as long as the fastest so far.
        now_s: with the current load, at the mean speed.
    """

    best_s: float
    now_s: float


class LatencyForecaster(Protocol):
    """Forecasts when samples would be done; `StepBatcher` is one."""

    def forecast(self, *, steps: int, samples: int) -> LatencyForecast:
        """Forecast when a request of so many samples, each of so many steps, would be done if it arrived now."""
        ...


class LatencyModel:
    """Call latency by batch size: eight samples take eight times as long as one on a CPU, and hardly longer on a GPU.

    Args:
        slots: samples per call.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._mean_s: dict[int, float] = {}
        self._fastest_s: dict[int, float] = {}

    def record(self, samples: int, call_s: float) -> None:
        """Record the duration of one call.

        Args:
            samples: batch size of the call.
            call_s: duration in seconds.
        """
        self._mean_s[samples] = (1 - SMOOTHING) * self._mean_s.get(samples, call_s) + SMOOTHING * call_s
        self._fastest_s[samples] = min(self._fastest_s.get(samples, call_s), call_s)

    def calls_within(self, seconds: float) -> int:
        """Return how many of the largest calls take so long; 0 before the first call."""
        call_s = _interpolate_s(self._mean_s, self._slots)
        return round(seconds / call_s) if call_s else 0

    def forecast(self, *, steps: int, samples: int, load: int) -> LatencyForecast:
        """Forecast when a request would be done if it arrived now.

        Args:
            steps: steps of each of its samples.
            samples: number of its samples.
            load: slots that the other requests still need.
        """
        own = samples * steps
        # Round-robin: until the request is done, the others get at most one call's worth of slots per step.
        all_slots = own + min(load, steps * self._slots)
        return LatencyForecast(
            self._duration_s(self._fastest_s, steps, own), self._duration_s(self._mean_s, steps, all_slots)
        )

    def _duration_s(self, measured_s: dict[int, float], steps: int, slots: int) -> float:
        """Return the seconds that `slots` samples take in at least `steps` calls."""
        calls = max(steps, -(-slots // self._slots))
        return calls * _interpolate_s(measured_s, min(self._slots, -(-slots // calls)))


def _interpolate_s(measured_s: dict[int, float], samples: int) -> float:
    """Return a lower bound for a call of this batch size: the nearest measured one, scaled down for smaller batches."""
    if not measured_s:
        return 0.0
    nearest = min(measured_s, key=lambda size: (abs(size - samples), size))
    return measured_s[nearest] * min(1.0, samples / nearest)
