"""What a UNet did, call by call, and what follows from it: pure functions over one run's calls."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

NS_PER_MS = 1e6
NS_PER_S = 1e9


class Span(NamedTuple):
    """A stretch of time on the machine's monotonic clock, ns: of a call of a UNet, or of a sample."""

    began_ns: int
    ended_ns: int
    samples: int = 1

    @property
    def seconds(self) -> float:
        """Its length; negative if it ends before it begins."""
        return (self.ended_ns - self.began_ns) / NS_PER_S


class CallLog:
    """A file that a UNet writes its calls to, each before its answer is sent.

    Args:
        path: path of the file; made by the first call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, call: Span) -> None:
        """Append a call."""
        with self._path.open("a") as file:
            file.write(f"{call.began_ns} {call.ended_ns} {call.samples}\n")

    def length(self) -> int:
        """Return the number of calls in the file."""
        return len(self.calls_since(0))

    def calls_since(self, length: int) -> list[Span]:
        """Return the calls after the first so many."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [Span(*map(int, line.split())) for line in lines[length:]]


def common(spans: Iterable[Span]) -> Span:
    """Return the time in which all were under way; its seconds are negative if they never were."""
    spans = list(spans)
    return Span(max(span.began_ns for span in spans), min(span.ended_ns for span in spans))


def within(calls: Iterable[Span], span: Span) -> list[Span]:
    """Return the calls that began and ended within a span."""
    return [call for call in calls if span.began_ns <= call.began_ns and call.ended_ns <= span.ended_ns]


def samples_per_call(calls: Sequence[Span]) -> float:
    """Return the samples per call, mean; NaN if there was no call."""
    return statistics.fmean(call.samples for call in calls) if calls else math.nan


def period_ms(calls: Sequence[Span]) -> float:
    """Return the time from the begin of one call to the begin of the next, median in ms; NaN of fewer than two."""
    gaps = [after.began_ns - before.began_ns for before, after in pairwise(calls)]
    return statistics.median(gaps) / NS_PER_MS if gaps else math.nan


def duration_ms(calls: Sequence[Span]) -> float:
    """Return what a call took by the UNet's own clock, median in ms; NaN if there was no call."""
    return statistics.median(call.ended_ns - call.began_ns for call in calls) / NS_PER_MS if calls else math.nan
