"""What a UNet did, call by call, and what follows from it: pure functions over one run's calls."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

NS_PER_MS = 1e6
NS_PER_S = 1e9


class Call(NamedTuple):
    """One execution of a UNet: when it began and ended on the machine's monotonic clock, ns, and its samples."""

    began_ns: int
    ended_ns: int
    samples: int


@dataclass(frozen=True)
class Span:
    """A stretch of time on the machine's monotonic clock, ns."""

    began_ns: int
    ended_ns: int

    @property
    def seconds(self) -> float:
        """How long it is; negative where it ends before it begins."""
        return (self.ended_ns - self.began_ns) / NS_PER_S


class Ledger:
    """A file that a UNet writes its calls into, and whoever measures reads them from.

    A call is on the file before its answer is sent: whoever has the answer finds the call.

    Args:
        path: of the file; made by the first call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, call: Call) -> None:
        """Append a call."""
        with self._path.open("a") as file:
            file.write(f"{call.began_ns} {call.ended_ns} {call.samples}\n")

    def length(self) -> int:
        """Calls on the file."""
        return len(self._lines())

    def calls_since(self, length: int) -> list[Call]:
        """The calls made since the file held so many."""
        return [Call(*map(int, line.split())) for line in self._lines()[length:]]

    def _lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []


def common(spans: Iterable[Span]) -> Span:
    """The time in which all were under way; its seconds are negative where they never were."""
    spans = list(spans)
    return Span(max(span.began_ns for span in spans), min(span.ended_ns for span in spans))


def within(calls: Iterable[Call], span: Span) -> list[Call]:
    """The calls that began and ended within a span."""
    return [call for call in calls if span.began_ns <= call.began_ns and call.ended_ns <= span.ended_ns]


def samples_per_call(calls: Sequence[Call]) -> float:
    """How many samples shared a call on average; NaN where there was none."""
    return statistics.fmean(call.samples for call in calls) if calls else float("nan")


def period_ms(calls: Sequence[Call]) -> float:
    """From the begin of one call to the begin of the next, median in ms; NaN where there are fewer than two."""
    gaps = [after.began_ns - before.began_ns for before, after in pairwise(calls)]
    return statistics.median(gaps) / NS_PER_MS if gaps else float("nan")


def duration_ms(calls: Sequence[Call]) -> float:
    """What a call took by the UNet's own clock, median in ms; NaN where there was none."""
    return statistics.median(call.ended_ns - call.began_ns for call in calls) / NS_PER_MS if calls else float("nan")


def busy_share(calls: Iterable[Call], span: Span) -> float:
    """The share of a span in which a call was under way, 0..1; calls of one UNet do not overlap."""
    inside = (min(call.ended_ns, span.ended_ns) - max(call.began_ns, span.began_ns) for call in calls)
    return sum(max(0, part) for part in inside) / NS_PER_S / span.seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank).

    Args:
        values: at least one, in any order.
        share: above 0, up to 1.

    Raises:
        ValueError: no values, or a share that is none.
    """
    if not values or not 0 < share <= 1:
        raise ValueError(
            f"{len(values)} values and share {share:g}; a percentile takes one or more, and 0 < share <= 1"
        )
    rank = -(-len(values) * share // 1)
    return sorted(values)[int(rank) - 1]
