"""Admission control: reject at once what would exceed the engine's limits or miss a deadline; never wait."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from respin.errors import Busy, InvalidInput
from respin.limits import EngineLimits
from respin.request import RotationRequest
from respin_ensemble.batching.latency import LatencyForecaster
from respin_ensemble.metrics import Meter
from respin_ensemble.pipeline.events import JobEvent
from respin_ensemble.serving.forecast import Costs, JobProgress, Phase, Unit, Work
from respin_ensemble.serving.job_size import JobSize
from respin_ensemble.serving.speed import MEMORY_S, SpeedModel, finish_times

SAFETY = 2.0
"""A job is admitted if it would meet its deadline even if it took so many times as long as forecast: later jobs share
the engine with it, and other programs the machine."""

COLD_SAFETY = 8.0
"""Replaces `SAFETY` in an engine's first second, when only single calls were measured, not jobs beside each other."""

MIN_RETRY_S = 0.1
"""Shortest time after which a rejected caller is asked to retry, seconds."""

UNKNOWN_S = 1.0
"""Time after which a rejected caller is asked to retry while the engine's speed is not measured yet, seconds."""


@dataclass(eq=False)
class Reservation:
    """What an admitted job occupies.

    Args:
        size: its size.
        progress: its work, and what is left of it.
        since_s: time of admission on the monotonic clock, seconds.
        forecast_s: its forecast duration, seconds.
        seen_s: `share_s` of the speed model when its progress was last seen, seconds.
    """

    size: JobSize
    progress: JobProgress
    since_s: float
    forecast_s: float
    seen_s: float


@dataclass(frozen=True)
class Candidate:
    """A request that asks for admission.

    Args:
        request: the request.
        size: its size.
        work: its work, if nothing of it is cached.
        find_cached: returns the phases whose result is cached; called only if that decides.
        deadline_s: seconds from now to its deadline; None = it has none.
    """

    request: RotationRequest
    size: JobSize
    work: Work
    find_cached: Callable[[], Sequence[Phase]] = tuple
    deadline_s: float | None = None


class Admission:
    """Counts the admitted jobs, and rejects requests that exceed a limit, or would make a job miss its deadline.

    Args:
        limits: limits of the engine.
        costs: what the parts of a job take.
        views: forecasts when the novel views of a request would be done.
        meter: receives rejections and job durations.
        clock: monotonic clock, seconds.
    """

    def __init__(
        self,
        limits: EngineLimits,
        costs: Costs,
        views: LatencyForecaster,
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._costs = costs
        self._views = views
        self._meter = meter
        self._clock = clock
        self._lock = threading.Lock()
        # In the order of their arrival; the first ones run.
        self._jobs: list[Reservation] = []
        # Cancelled jobs whose thread has not returned yet: they hold their memory, but no slot.
        self._stopping: list[Reservation] = []
        self._speed = SpeedModel(costs)
        self._recorded_s = clock()
        # When a job last ran; long ago, before the first.
        self._worked_s = -math.inf

    @property
    def load(self) -> tuple[int, int]:
        """Admitted jobs, and the memory that is counted for them, bytes."""
        with self._lock:
            return len(self._jobs), self._memory_bytes()

    def admit(self, candidate: Candidate) -> Reservation:
        """Admit a job.

        Raises:
            Busy: a limit is reached, or the current load leaves too little time for this job or an admitted one.
            InvalidInput: the deadline is too short even for an idle engine.
        """
        with self._lock:
            self._record({})
            try:
                self._check_capacity(candidate.size)
                work, forecast_s = self._check_deadlines(candidate)
            except _Rejected as rejected:
                self._meter.add("respin_rejections_total", rejected.reason)
                raise rejected.error from None
            now_s = self._clock()
            deadline_at_s = None if candidate.deadline_s is None else now_s + candidate.deadline_s
            progress = JobProgress(work, candidate.request.views, deadline_at_s)
            reservation = Reservation(candidate.size, progress, now_s, forecast_s, self._speed.share_s)
            self._jobs.append(reservation)
        return reservation

    def observe(self, reservation: Reservation, event: JobEvent) -> None:
        """Record the progress of a job: what it has left, and how fast the engine is."""
        done = reservation.progress.observe(event)
        with self._lock:
            self._record(done)
            reservation.seen_s = self._speed.share_s

    def stop(self, reservation: Reservation, *, late: bool) -> None:
        """Free the slot of a job that was cancelled; its memory stays counted until `release`.

        Args:
            reservation: as returned by `admit`.
            late: whether it missed its deadline, which shows how slow the engine is.
        """
        with self._lock:
            self._record({})
            if reservation in self._jobs:
                self._remove(reservation, seen=late)
                self._stopping.append(reservation)

    def release(self, reservation: Reservation, *, answered: bool) -> None:
        """Release what a job occupied.

        Args:
            reservation: as returned by `admit`.
            answered: whether the job succeeded; only then its duration is recorded.
        """
        with self._lock:
            self._record({})
            if reservation in self._jobs:
                self._remove(reservation, seen=answered)
            elif reservation in self._stopping:
                self._stopping.remove(reservation)
        if answered:
            took_s = self._clock() - reservation.since_s
            self._meter.observe("respin_job_seconds", took_s)
            self._meter.observe("respin_job_forecast_ratio", took_s / reservation.forecast_s)

    def _remove(self, reservation: Reservation, *, seen: bool) -> None:
        """Remove a job; if what it did last was not seen, the time that it took for it does not count."""
        workers = self._limits.workers
        if self._jobs.index(reservation) < workers:
            if not seen:
                self._speed.forget(reservation.seen_s)
            if len(self._jobs) > workers:
                self._jobs[workers].seen_s = self._speed.share_s  # it runs from now on
        self._jobs.remove(reservation)

    def _record(self, done: Mapping[Unit, float]) -> None:
        now_s = self._clock()
        if running := min(len(self._jobs), self._limits.workers):
            self._speed.record(running, now_s - self._recorded_s, done)
            self._worked_s = now_s
        self._recorded_s = now_s

    def _memory_bytes(self, *others: JobSize) -> int:
        """Return the most memory that the jobs can take: as many as there are workers work, the others hold a photo."""
        sizes = [each.size for each in (*self._jobs, *self._stopping)] + list(others)
        extra = sorted((size.working_bytes - size.held_bytes for size in sizes), reverse=True)
        return sum(size.held_bytes for size in sizes) + sum(extra[: self._limits.workers])

    def _check_capacity(self, size: JobSize) -> None:
        limits = self._limits
        if len(self._jobs) >= limits.max_jobs:
            raise _Rejected(
                "jobs", Busy(f"the server has {len(self._jobs)} jobs; the limit is {limits.max_jobs}. {self._hint()}")
            )
        needed = self._memory_bytes(size)
        # A job alone is admitted whatever its size: the limits of a photo bound it.
        if (self._jobs or self._stopping) and needed > limits.job_memory_mib * 2**20:
            raise _Rejected(
                "memory",
                Busy(
                    f"the jobs in progress may take {self._memory_bytes() / 2**20:.0f} MiB and this one "
                    f"{size.working_bytes / 2**20:.0f}; the limit is {limits.job_memory_mib}. {self._hint()}"
                ),
            )

    def _check_deadlines(self, candidate: Candidate) -> tuple[Work, float]:
        """Return the work of a job, less what is cached if that had to be found out, and its forecast, seconds."""
        request, deadline_s = candidate.request, candidate.deadline_s
        if deadline_s is not None and request.views:
            best_s, _ = self._views.forecast(steps=request.steps, samples=request.views)
            if best_s > deadline_s:
                raise _Rejected(
                    "deadline",
                    InvalidInput(
                        f"the deadline is in {_seconds(deadline_s)}, but {request.steps} steps for "
                        f"{request.views} view{'s' if request.views > 1 else ''} take at least {_seconds(best_s)} on "
                        "this server; allow more time, or request fewer steps or views"
                    ),
                )
        work = candidate.work
        try:
            return work, self._check_finish(work, deadline_s)
        except _Rejected:
            cached = candidate.find_cached()
            if not cached:
                raise
            work = work.without(cached)
            return work, self._check_finish(work, deadline_s)

    def _check_finish(self, work: Work, deadline_s: float | None) -> float:
        """Check that a job and every admitted job would be done in time, and return the job's forecast, seconds."""
        left_s = self._left_s()
        own_s = sum(work.seconds(phase, self._costs) for phase in work.units)
        *others_s, forecast_s = finish_times([*left_s, own_s], self._limits.workers, self._speed)
        if not self._jobs:
            # A job alone is tried, and shows how fast the engine is, unless that was just seen.
            seen = self._speed.measured and self._clock() - self._worked_s < MEMORY_S and work.is_known(self._costs)
            if deadline_s is not None and forecast_s > deadline_s and seen:
                raise _Rejected("deadline", self._too_slow(forecast_s, deadline_s))
            return forecast_s
        safety = COLD_SAFETY if work.is_known(self._costs) and not self._speed.measured else SAFETY
        if deadline_s is not None and forecast_s * safety > deadline_s:
            raise _Rejected("deadline", self._too_late(forecast_s, deadline_s))
        without_s = finish_times(left_s, self._limits.workers, self._speed)
        now_s = self._clock()
        late = 0
        for each, before_s, after_s in zip(self._jobs, without_s, others_s, strict=True):
            if (until_s := each.progress.deadline_at_s) is not None:
                late += before_s < after_s and until_s - now_s < after_s * safety
        if late:
            raise _Rejected(
                "deadline",
                Busy(f"with this job, {late} of {len(left_s)} jobs would miss their deadlines. {self._hint()}"),
            )
        return forecast_s

    def _too_late(self, forecast_s: float, deadline_s: float) -> Busy:
        """Return the error of a job that would miss its deadline among the others."""
        return Busy(
            f"the deadline is in {_seconds(deadline_s)}, but with {len(self._jobs)} jobs in progress this one would "
            f"take about {_seconds(forecast_s)}. {self._hint(forecast_s * SAFETY - deadline_s)}"
        )

    def _too_slow(self, forecast_s: float, deadline_s: float) -> Busy:
        """Return the error of a job that would miss its deadline alone, as fast as the engine was just now."""
        retry_s = max(MIN_RETRY_S, self._worked_s + MEMORY_S - self._clock())
        return Busy(
            f"the deadline is in {_seconds(deadline_s)}, but at the speed of the last jobs this one would take about "
            f"{_seconds(forecast_s)}; allow more time, or request fewer steps or views. Retry in {retry_s:.1f} s"
        )

    def _left_s(self) -> list[float]:
        return [each.progress.left_s(self._costs) for each in self._jobs]

    def _hint(self, at_least_s: float = MIN_RETRY_S) -> str:
        """Return when capacity is likely to be free: when the next job is done."""
        if not self._speed.measured:
            return f"Retry in {UNKNOWN_S:.1f} s"
        next_s = min(finish_times(self._left_s(), self._limits.workers, self._speed), default=MIN_RETRY_S)
        return f"Retry in {max(MIN_RETRY_S, next_s, at_least_s):.1f} s"


def _seconds(duration_s: float) -> str:
    return f"{duration_s:.0f} s" if duration_s >= 100 else f"{duration_s:.2g} s"


class _Rejected(Exception):
    """An error, and the limit that caused it."""

    def __init__(self, reason: str, error: Busy | InvalidInput) -> None:
        self.reason = reason
        self.error = error
