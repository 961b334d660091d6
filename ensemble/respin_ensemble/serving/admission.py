"""Who is let in: as many jobs and pixels as there is room for, and only who can be done in time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

from respin.errors import Busy, InvalidInput
from respin.limits import EngineLimits
from respin.request import RotationRequest
from respin_ensemble.batching.latency import Forecast
from respin_ensemble.metrics import Meter

USUAL_JOB_S = 2.0
"""What a job is taken to last before any has ended."""

WEIGHT = 0.1
"""Of the job that ended last in the running mean."""


@dataclass(frozen=True)
class Place:
    """What a job was admitted with.

    Args:
        pixels: of its photo.
        since_s: on the monotonic clock.
    """

    pixels: int
    since_s: float


class Foresight(Protocol):
    """Who can tell when samples would be done: a `StepScheduler`."""

    def forecast(self, *, steps: int, samples: int) -> Forecast:
        """When a request of so many samples of so many steps each would be done if it came now."""
        ...


class Admission:
    """Counts what is here, and refuses what would be too much; it never waits.

    Args:
        limits: of the engine.
        views: tells from measured steps when the novel views of a request would be done.
        meter: is told of what is here and what was refused.
    """

    def __init__(self, limits: EngineLimits, views: Foresight, meter: Meter) -> None:
        self._limits = limits
        self._views = views
        self._meter = meter
        self._lock = threading.Lock()
        self._jobs = 0
        self._pixels = 0
        self._job_s = USUAL_JOB_S

    @property
    def here(self) -> tuple[int, int]:
        """Jobs, and pixels of their photos."""
        return self._jobs, self._pixels

    def admit(self, request: RotationRequest, pixels: int, deadline_s: float | None) -> Place:
        """Take a job in.

        Args:
            request: what it is to do.
            pixels: of its photo.
            deadline_s: seconds from now in which the answer is wanted; None = it does not matter when.

        Raises:
            Busy: there is no room, or not enough time with those that are here already.
            InvalidInput: there would not be time enough for it alone.
        """
        with self._lock:
            try:
                self._check_room(pixels)
                if deadline_s is not None:
                    self._check_time(request, deadline_s)
            except _Refused as refused:
                self._meter.add("respin_rejections_total", refused.reason)
                raise refused.error from None
            self._jobs += 1
            self._pixels += pixels
        return Place(pixels, time.monotonic())

    def leave(self, place: Place, *, answered: bool) -> None:
        """Let a job go; one that was answered says how long jobs take."""
        took_s = time.monotonic() - place.since_s
        with self._lock:
            self._jobs -= 1
            self._pixels -= place.pixels
            if answered:
                self._job_s += WEIGHT * (took_s - self._job_s)
        if answered:
            self._meter.observe("respin_job_seconds", took_s)

    def _check_room(self, pixels: int) -> None:
        limits = self._limits
        if self._jobs >= limits.max_jobs:
            raise _Refused(
                "jobs", Busy(f"{self._jobs} jobs are here already, the most this server holds; {self._hint()}")
            )
        # One photo alone is let in whatever its size: its own limit is checked elsewhere.
        if self._jobs and self._pixels + pixels > limits.max_megapixels * 10**6:
            raise _Refused(
                "pixels",
                Busy(
                    f"the photos here have {self._pixels / 1e6:.0f} megapixels and this one {pixels / 1e6:.0f}, "
                    f"together the server holds {limits.max_megapixels}; {self._hint()}"
                ),
            )

    def _check_time(self, request: RotationRequest, deadline_s: float) -> None:
        """Of the novel views alone: whether the background is there already is not known yet."""
        if not request.views:
            return
        at_best_s, now_s = self._views.forecast(steps=request.steps, samples=request.views)
        if at_best_s > deadline_s:
            raise _Refused(
                "deadline",
                InvalidInput(
                    f"the deadline is {deadline_s:.2g} s away, {request.views} views of {request.steps} steps take "
                    f"{at_best_s:.2g} s here at best; allow more time, or ask for fewer steps or views"
                ),
            )
        if now_s > deadline_s:
            raise _Refused(
                "deadline",
                Busy(
                    f"the deadline is {deadline_s:.2g} s away, with the {self._jobs} jobs that are here this one would "
                    f"take {now_s:.2g} s; {self._hint()}"
                ),
            )

    def _hint(self) -> str:
        """When room may be expected: a worker's share of a job's usual time."""
        wait_s = self._job_s / min(self._limits.workers, max(1, self._jobs))
        return f"try again in {max(0.1, wait_s):.1f} s"


class _Refused(Exception):
    """An error, and what there was none of."""

    def __init__(self, reason: str, error: Busy | InvalidInput) -> None:
        self.reason = reason
        self.error = error
