"""How fast the engine gets through the work of its jobs, and when they will be done.

How much it completes per second depends on the machine, on the batches and on everything else that runs there, so it is
measured, by the number of jobs that run at the same time.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping, Sequence

from respin_ensemble.serving.forecast import Costs, Unit

MEMORY_S = 10.0
"""How far back the measured speed looks, seconds."""

MIN_SPEED = 1e-3
"""Least work per second that is assumed: jobs that wait for each other make no progress for a moment."""

MIN_MEASURED_S = 1.0
"""Time for which a number of jobs must have run before their speed counts, seconds."""


class SpeedModel:
    """Measures how much work is completed per second, by the number of jobs that run. Not thread-safe.

    Completed work is kept in units, so that a better knowledge of their costs applies to the past, too.

    Args:
        costs: what the units take.

    Attributes:
        share_s: the time that a job would have had by now that ran from the beginning, seconds.
    """

    def __init__(self, costs: Costs) -> None:
        self.share_s = 0.0
        self._costs = costs
        self._time_s: dict[int, float] = {}
        self._units: dict[int, dict[Unit, float]] = {}

    @property
    def measured(self) -> bool:
        """Whether any speed was measured yet."""
        return any(time_s >= MIN_MEASURED_S for time_s in self._time_s.values())

    def record(self, running: int, elapsed_s: float, units: Mapping[Unit, float]) -> None:
        """Record what so many running jobs completed in some time; what is long ago is forgotten."""
        self.share_s += elapsed_s / running
        kept = math.exp(-elapsed_s / MEMORY_S)
        self._time_s[running] = self._time_s.get(running, 0.0) * kept + elapsed_s
        done = self._units.setdefault(running, {})
        for unit in done:
            done[unit] *= kept
        for unit, amount in units.items():
            done[unit] = done.get(unit, 0.0) + amount

    def forget(self, share_s: float) -> None:
        """Forget the time that a job had since `share_s` was as given, and whose work was lost unseen."""
        total_s = sum(self._time_s.values())
        kept = max(0.0, 1 - (self.share_s - share_s) / total_s) if total_s else 0.0
        self._time_s = {running: time_s * kept for running, time_s in self._time_s.items()}

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
