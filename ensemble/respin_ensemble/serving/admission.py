"""Admission control: reject at once what would exceed the engine's limits or miss its deadline; never wait."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

from respin.errors import Busy, InvalidInput
from respin.limits import EngineLimits
from respin.request import RotationRequest
from respin_ensemble.batching.latency import LatencyForecast
from respin_ensemble.metrics import Meter

INITIAL_JOB_S = 2.0
"""Assumed duration of a job until the first has finished, seconds."""

SMOOTHING = 0.1
"""Weight of the newest job in the running mean of job durations."""


@dataclass(frozen=True)
class Reservation:
    """What an admitted job occupies.

    Args:
        pixels: pixels of its photo.
        since_s: time of admission on the monotonic clock, seconds.
    """

    pixels: int
    since_s: float


class LatencyForecaster(Protocol):
    """Forecasts when samples would be done; `StepBatcher` is one."""

    def forecast(self, *, steps: int, samples: int) -> LatencyForecast:
        """Forecast when a request of so many samples, each of so many steps, would be done if it arrived now."""
        ...


class Admission:
    """Counts the admitted jobs and rejects requests that exceed a limit.

    Args:
        limits: limits of the engine.
        views: forecasts when the novel views of a request would be done.
        meter: receives rejections and job durations.
    """

    def __init__(self, limits: EngineLimits, views: LatencyForecaster, meter: Meter) -> None:
        self._limits = limits
        self._views = views
        self._meter = meter
        self._lock = threading.Lock()
        self._jobs = 0
        self._pixels = 0
        self._job_s = INITIAL_JOB_S

    @property
    def load(self) -> tuple[int, int]:
        """Admitted jobs, and the pixels of their photos."""
        return self._jobs, self._pixels

    def admit(self, request: RotationRequest, pixels: int, deadline_s: float | None) -> Reservation:
        """Admit a job.

        Args:
            request: the request.
            pixels: pixels of its photo.
            deadline_s: seconds from now to its deadline; None = it has none.

        Raises:
            Busy: a limit is reached, or the current load leaves too little time.
            InvalidInput: the deadline is too short even for an idle engine.
        """
        with self._lock:
            try:
                self._check_capacity(pixels)
                if deadline_s is not None:
                    self._check_deadline(request, deadline_s)
            except _Rejected as rejected:
                self._meter.add("respin_rejections_total", rejected.reason)
                raise rejected.error from None
            self._jobs += 1
            self._pixels += pixels
        return Reservation(pixels, time.monotonic())

    def release(self, reservation: Reservation, *, answered: bool) -> None:
        """Release what a job occupied.

        Args:
            reservation: as returned by `admit`.
            answered: whether the job succeeded; only then its duration is recorded.
        """
        took_s = time.monotonic() - reservation.since_s
        with self._lock:
            self._jobs -= 1
            self._pixels -= reservation.pixels
            if answered:
                self._job_s += SMOOTHING * (took_s - self._job_s)
        if answered:
            self._meter.observe("respin_job_seconds", took_s)

    def _check_capacity(self, pixels: int) -> None:
        limits = self._limits
        if self._jobs >= limits.max_jobs:
            raise _Rejected(
                "jobs", Busy(f"the server has {self._jobs} jobs; the limit is {limits.max_jobs}. {self._hint()}")
            )
        # A photo alone is admitted whatever its size: its own limit is checked elsewhere.
        if self._jobs and self._pixels + pixels > limits.max_megapixels * 10**6:
            raise _Rejected(
                "pixels",
                Busy(
                    f"the photos in progress have {self._pixels / 1e6:.0f} megapixels and this one adds "
                    f"{pixels / 1e6:.0f}; the limit is {limits.max_megapixels}. {self._hint()}"
                ),
            )

    def _check_deadline(self, request: RotationRequest, deadline_s: float) -> None:
        """Check the novel views only: whether the background is cached is not known yet."""
        if not request.views:
            return
        best_s, now_s = self._views.forecast(steps=request.steps, samples=request.views)
        if best_s > deadline_s:
            raise _Rejected(
                "deadline",
                InvalidInput(
                    f"the deadline is in {deadline_s:.2g} s, but {request.views} views of {request.steps} steps take "
                    f"at least {best_s:.2g} s on this server; allow more time, or request fewer steps or views"
                ),
            )
        if now_s > deadline_s:
            raise _Rejected(
                "deadline",
                Busy(
                    f"the deadline is in {deadline_s:.2g} s, but with {self._jobs} jobs in progress this one would "
                    f"take {now_s:.2g} s. {self._hint()}"
                ),
            )

    def _hint(self) -> str:
        """Return when capacity is likely to be free: a worker's share of the mean job duration."""
        wait_s = self._job_s / min(self._limits.workers, max(1, self._jobs))
        return f"Retry in {max(0.1, wait_s):.1f} s"


class _Rejected(Exception):
    """An error, and the limit that caused it."""

    def __init__(self, reason: str, error: Busy | InvalidInput) -> None:
        self.reason = reason
        self.error = error
