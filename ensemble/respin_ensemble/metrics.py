"""What the engine measures of itself: every metric in one table, and the seam through which it is told.

The engine tells a `Meter`. In the server that is Triton's own metrics port (`respin_ensemble.serving.metrics`); tests
read a `Tally`.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["counter", "gauge", "histogram"]

Labels = tuple[tuple[str, str], ...]

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
STEP_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Family:
    """One metric.

    Args:
        name: as Prometheus sees it.
        kind: counters only rise, gauges are set, histograms collect observations.
        meaning: one line, with the unit.
        label: what its series differ by; empty = one series.
        buckets: upper ends of a histogram's.
    """

    name: str
    kind: Kind
    meaning: str
    label: str = ""
    buckets: tuple[float, ...] = ()


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("respin_jobs", "gauge", "jobs at work or waiting for a worker"),
        Family("respin_photo_pixels", "gauge", "pixels of the photos of these jobs"),
        Family("respin_jobs_ended_total", "counter", "jobs that ended, by gRPC status; OK = answered", "status"),
        Family(
            "respin_job_seconds",
            "histogram",
            "from admission to the last answer of jobs that succeeded, s",
            "",
            SECONDS,
        ),
        Family(
            "respin_rejections_total", "counter", "requests refused at admission, by what there was none of", "reason"
        ),
        Family("respin_cancellations_total", "counter", "jobs stopped early, by who wanted it", "cause"),
        Family("respin_stage_seconds", "histogram", "what a stage of a job took, s", "stage", SECONDS),
        Family("respin_samples_started", "gauge", "samples on their way from noise to picture", "unet"),
        Family("respin_samples_waiting", "gauge", "samples that wait for their first step", "unet"),
        Family("respin_batch_size", "histogram", "samples that shared a call", "unet", (1, 2, 3, 4, 5, 6, 7, 8)),
        Family("respin_step_seconds", "histogram", "what a call took, s", "unet", STEP_SECONDS),
        Family(
            "respin_step_overhead_seconds", "histogram", "between two calls while samples wait, s", "unet", STEP_SECONDS
        ),
        Family("respin_unet_busy_seconds_total", "counter", "time in which a call was under way, s", "unet"),
        Family("respin_sample_failures_total", "counter", "samples that failed, alone or with their call", "unet"),
        Family("respin_cache_hits_total", "counter", "results that were there already", "cache"),
        Family("respin_cache_misses_total", "counter", "results that had to be made", "cache"),
        Family("respin_cache_evictions_total", "counter", "results that gave way to others", "cache"),
        Family("respin_cache_bytes", "gauge", "what the results kept take, bytes", "cache"),
    )
}
"""Every metric by name."""


class Meter(Protocol):
    """Takes measurements, from any thread."""

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Raise a counter."""

    def set(self, name: str, value: float, label: str = "") -> None:
        """Set a gauge."""

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Add an observation to a histogram."""


class Tally:
    """A meter that keeps what it is told: for benchmarks, and for whoever runs the story without a server."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], float] = defaultdict(float)
        self.observations: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._lock = threading.Lock()

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Raise a counter."""
        with self._lock:
            self.values[_known(name, "counter"), label] += amount

    def set(self, name: str, value: float, label: str = "") -> None:
        """Set a gauge."""
        with self._lock:
            self.values[_known(name, "gauge"), label] = value

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Keep an observation."""
        with self._lock:
            self.observations[_known(name, "histogram"), label].append(value)


def _known(name: str, kind: Kind) -> str:
    if FAMILIES[name].kind != kind:
        raise TypeError(f"{name} is a {FAMILIES[name].kind}, not a {kind}")
    return name


class Silent:
    """A meter that forgets."""

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Forget it."""

    def set(self, name: str, value: float, label: str = "") -> None:
        """Forget it."""

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Forget it."""
