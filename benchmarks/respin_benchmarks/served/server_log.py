"""Triton's log, when it logs every request (`respin serve --verbose`): when each network was called.

Triton's own traces hold the outer request alone: what a model that answers later asks of other models leaves no span
(Triton 2.51).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from respin.contracts import JOBS, NETWORKS
from respin_benchmarks.in_process.rows import Interval

LINE = re.compile(
    r"^I(?P<when>\d{4} \d\d:\d\d:\d\d\.\d{6}) .*?"
    r"(?P<what>prepared: .* model: (?P<asked>\w+)"
    r"|model (?P<begun>\w+), instance \w+, executing"
    r"|model instance name (?P<ended>\w+?)_\d+_\d+ released)"
)
"""A request that is taken in, a call that begins, a call that has ended."""


def network_calls(log: str) -> list[Interval]:
    """The calls of networks in one job, s since the job was taken in.

    Args:
        log: lines of one job alone.

    Raises:
        ValueError: it holds no job.
    """
    came_s: float | None = None
    begun_s: dict[str, float] = {}
    calls = []
    for at_s, what, model in _events(log):
        if what == "asked" and model in JOBS and came_s is None:
            came_s = at_s
        elif what == "begun" and model in NETWORKS:
            begun_s[model] = at_s
        elif what == "ended" and model in begun_s and came_s is not None:
            calls.append(Interval(model, round(begun_s.pop(model) - came_s, 6), round(at_s - came_s, 6)))
    if came_s is None:
        raise ValueError("the log tells of no job")
    return calls


def _events(log: str) -> Iterator[tuple[float, str, str]]:
    """When, what and of which model; s."""
    for line in log.splitlines():
        if found := LINE.match(line):
            # Triton writes no year; any leap year has all days.
            when = datetime.strptime(f"2000{found['when']}", "%Y%m%d %H:%M:%S.%f")
            what = next(name for name in ("asked", "begun", "ended") if found[name])
            yield (when - datetime(2000, 1, 1)).total_seconds(), what, found[what]
