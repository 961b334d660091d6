"""When the admitted jobs will be done: their work, and how fast the engine gets through it.

Work is counted in seconds that each part of a job takes when it is fastest. How much of it the engine completes per
second depends on the machine, on the batches and on everything else that runs there, so it is measured, by the number
of jobs that run at the same time.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from respin.request import RotationRequest
from respin_ensemble.metrics import Meter
from respin_ensemble.pipeline.events import JobEvent

Phase = Literal["scene", "background", "views", "finish"]
"""Parts of a job: find the object; paint the background; sample the views; enlarge, cut out and compose them."""

Unit = Literal["scene", "background step", "view step", "view", "pixel"]
"""What work is counted in: a photo in which an object is found; a step of a sample; a view that is finished; a pixel of
a photo that is decoded, or composed and encoded."""

STAGES: Mapping[Unit, tuple[str, ...]] = {
    "scene": ("detection", "segmentation"),
    "view": ("super_resolution", "outline of a view"),
}
"""The stages that make up a unit."""

INITIAL_STEP_S = 0.25
"""Assumed duration of a step until the first was made, seconds. Too long on most machines: while nothing is known, a
refusal costs less than a deadline."""

INITIAL_STAGE_S = 0.05
"""Assumed duration of any other stage until it has run once, seconds."""

PIXEL_S = 1e-7
"""Time to decode, or to compose and encode, one pixel, seconds."""

MEMORY_S = 10.0
"""How far back the measured speed looks, seconds."""

MIN_SPEED = 1e-3
"""Least work per second that is assumed: jobs that wait for each other make no progress for a moment."""

MIN_LEFT = 0.01
"""Least share of a job's work that is left before it has ended."""

MIN_MEASURED_S = 0.2
"""Time for which a number of jobs must have run before their speed counts, seconds."""


class StepTimes(Protocol):
    """Measures the steps of a UNet; `StepBatcher` is one."""

    @property
    def sample_s(self) -> float | None:
        """Seconds that a step of one sample takes in the best of batches; None = none was made yet."""
        ...


class Costs(Protocol):
    """Knows what one unit of each kind of work takes."""

    def __getitem__(self, unit: Unit, /) -> float:
        """Return the seconds of a unit at its fastest."""
        ...


@dataclass(frozen=True)
class Work:
    """The work of one job: how many units of each kind each of its phases has."""

    units: Mapping[Phase, Mapping[Unit, float]]

    @classmethod
    def of(cls, request: RotationRequest, pixels: int) -> Work:
        """Return the work of a request whose photo has so many pixels, if nothing of it is cached."""
        views = request.views
        if not views:
            return cls({"scene": {"scene": 1, "pixel": 2 * pixels}})
        return cls(
            {
                "scene": {"scene": 1, "pixel": pixels},
                "background": {"background step": request.background_steps},
                "views": {"view step": views * request.steps},
                "finish": {"view": views, "pixel": views * pixels},
            }
        )

    def without(self, phases: Sequence[Phase]) -> Work:
        """Return the work if these phases come from a cache."""
        return Work({phase: units for phase, units in self.units.items() if phase not in phases})

    def seconds(self, phase: Phase, costs: Costs) -> float:
        """Return the seconds of a phase; 0 if the job does not have it."""
        return sum(amount * costs[unit] for unit, amount in self.units.get(phase, {}).items())


class CostModel:
    """Knows the fastest run of each stage and step so far; a `Meter` that passes all measurements on.

    Args:
        views: the UNet of the novel views.
        backgrounds: the UNet of the backgrounds.
        meter: receives all measurements.
    """

    def __init__(self, views: StepTimes, backgrounds: StepTimes, meter: Meter) -> None:
        self._views = views
        self._backgrounds = backgrounds
        self._meter = meter
        self._fastest_s: dict[str, float] = {}

    def __getitem__(self, unit: Unit) -> float:
        """Return the seconds of a unit at its fastest; a guess until it was first measured."""
        if unit == "pixel":
            return PIXEL_S
        if unit == "view step":
            return self._views.sample_s or INITIAL_STEP_S
        if unit == "background step":
            return self._backgrounds.sample_s or INITIAL_STEP_S
        return sum(self._fastest_s.get(name, INITIAL_STAGE_S) for name in STAGES[unit])

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Pass on."""
        self._meter.add(name, label, amount)

    def set(self, name: str, value: float, label: str = "") -> None:
        """Pass on."""
        self._meter.set(name, value, label)

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Pass on, and keep the fastest run of each stage."""
        if name == "respin_stage_seconds":
            self._fastest_s[label] = min(value, self._fastest_s.get(label, value))
        self._meter.observe(name, value, label)


class SpeedModel:
    """Measures how much work is completed per second, by the number of jobs that run. Not thread-safe.

    Completed work is kept in units, so that a better knowledge of their costs applies to the past, too.

    Args:
        costs: what the units take.
    """

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._time_s: dict[int, float] = {}
        self._units: dict[int, dict[Unit, float]] = {}

    @property
    def measured(self) -> bool:
        """Whether any speed was measured yet."""
        return any(time_s >= MIN_MEASURED_S for time_s in self._time_s.values())

    def record(self, running: int, elapsed_s: float, units: Mapping[Unit, float]) -> None:
        """Record what so many running jobs completed in some time; what is long ago is forgotten."""
        kept = math.exp(-elapsed_s / MEMORY_S)
        self._time_s[running] = self._time_s.get(running, 0.0) * kept + elapsed_s
        done = self._units.setdefault(running, {})
        for unit in done:
            done[unit] *= kept
        for unit, amount in units.items():
            done[unit] = done.get(unit, 0.0) + amount

    def speed(self, running: int) -> float:
        """Return the work per second of so many running jobs; if unmeasured, that of the nearest measured number below.

        More jobs are at least as fast as fewer: their samples share calls.
        """
        measured = [count for count, time_s in self._time_s.items() if time_s >= MIN_MEASURED_S]
        if not measured:
            return 1.0
        nearest = min(measured, key=lambda count: (count > running, abs(count - running)))
        done_s = sum(amount * self._costs[unit] for unit, amount in self._units[nearest].items())
        return max(MIN_SPEED, done_s / self._time_s[nearest])


class JobProgress:
    """How much of one admitted job is done. Thread-safe.

    Args:
        work: its work.
        views: number of its views.
        deadline_at_s: its deadline on the monotonic clock, seconds; None = it has none.
    """

    def __init__(self, work: Work, views: int, deadline_at_s: float | None) -> None:
        self.deadline_at_s = deadline_at_s
        self._work = work
        self._views = views
        self._finished = 0
        self._done: dict[Phase, float] = {}
        self._lock = threading.Lock()

    def left_s(self, costs: Costs) -> float:
        """Return the work that is left, seconds; a job that has not ended has some left."""
        with self._lock:
            done = self._done.copy()
        seconds = {phase: self._work.seconds(phase, costs) for phase in self._work.units}
        left_s = sum(phase_s * (1 - done.get(phase, 0.0)) for phase, phase_s in seconds.items())
        return max(MIN_LEFT * sum(seconds.values()), left_s)

    def observe(self, event: JobEvent) -> dict[Unit, float]:
        """Record an event of the job, and return the work that was done for it.

        A result that is there before any step towards it comes from a cache: that was no work.
        """
        with self._lock:
            if event.stage == "segmentation":
                return self._complete("scene") if event.results else self._advance("scene", 0.5)
            if event.stage == "background":
                share = event.step / event.steps if event.steps else 0.0
                return self._complete("background") if event.results else self._advance("background", share)
            if event.stage == "novel_view" and event.results:
                self._finished += 1
                return self._advance("finish", self._finished / max(1, self._views))
            if event.stage == "novel_view" and event.steps:
                return self._advance("views", event.step / event.steps)
        return {}

    def _complete(self, phase: Phase) -> dict[Unit, float]:
        began = self._done.get(phase, 0.0) > 0
        units = self._advance(phase, 1.0)
        return units if began else {}

    def _advance(self, phase: Phase, share: float) -> dict[Unit, float]:
        before = self._done.get(phase, 0.0)
        self._done[phase] = max(before, min(1.0, share))
        more = self._done[phase] - before
        return {unit: more * amount for unit, amount in self._work.units.get(phase, {}).items()} if more else {}


def finish_times(left_s: Sequence[float], workers: int, speed: SpeedModel) -> list[float]:
    """Return when each job will be done, in seconds from now.

    As many jobs as there are workers run at the same time and share the engine equally; the others follow in order.

    Args:
        left_s: work that is left of each job, in the order of their arrival.
        workers: limit on the jobs that run at the same time.
        speed: how fast so many jobs are.
    """
    waiting = deque(enumerate(left_s))
    running: list[tuple[float, int]] = []
    finish = [0.0] * len(left_s)
    # The work that each running job has received so far; a job ends when it has received its own.
    now_s = received_s = 0.0
    while waiting or running:
        while waiting and len(running) < workers:
            index, work_s = waiting.popleft()
            heapq.heappush(running, (received_s + work_s, index))
        until_s, index = heapq.heappop(running)
        now_s += (until_s - received_s) * (len(running) + 1) / speed.speed(len(running) + 1)
        received_s = until_s
        finish[index] = now_s
    return finish
