"""The engine's metrics: one table of all of them, and the interface that records them.

The engine records into a `Meter`. In the server that is Triton's metrics port (`respin_ensemble.serving.metrics`);
tests and benchmarks use an `InMemoryMeter`.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["counter", "gauge", "histogram"]

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
STEP_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class MetricFamily:
    """A metric with all its label values, as Prometheus defines it.

    Args:
        name: name in Prometheus.
        kind: counters only increase, gauges are set, histograms collect observations.
        meaning: one line, with the unit.
        label: name of the label by which its series differ; empty if there is one series.
        buckets: upper bounds of a histogram's buckets.
    """

    name: str
    kind: Kind
    meaning: str
    label: str = ""
    buckets: tuple[float, ...] = ()


METRIC_FAMILIES: dict[str, MetricFamily] = {
    family.name: family
    for family in (
        MetricFamily("respin_jobs", "gauge", "jobs running or waiting for a worker"),
        MetricFamily("respin_job_memory_bytes", "gauge", "memory that these jobs may take at their peak, bytes"),
        MetricFamily("respin_jobs_ended_total", "counter", "finished jobs by gRPC status; OK = answered", "status"),
        MetricFamily(
            "respin_job_seconds", "histogram", "duration of successful jobs, from admission to answer, s", "", SECONDS
        ),
        MetricFamily(
            "respin_job_forecast_ratio",
            "histogram",
            "duration of successful jobs, as a multiple of what admission forecast",
            "",
            (0.25, 0.5, 0.75, 1.0, 1.3, 1.6, 2.0, 3.0, 5.0),
        ),
        MetricFamily(
            "respin_rejections_total", "counter", "requests rejected at admission, by the limit reached", "reason"
        ),
        MetricFamily("respin_cancellations_total", "counter", "jobs cancelled, by cause", "cause"),
        MetricFamily("respin_stage_seconds", "histogram", "duration of a stage of a job, s", "stage", SECONDS),
        MetricFamily("respin_samples_started", "gauge", "samples in progress", "unet"),
        MetricFamily("respin_samples_waiting", "gauge", "samples waiting for their first step", "unet"),
        MetricFamily("respin_batch_size", "histogram", "samples per call", "unet", (1, 2, 3, 4, 5, 6, 7, 8)),
        MetricFamily("respin_step_seconds", "histogram", "duration of a call, s", "unet", STEP_SECONDS),
        MetricFamily(
            "respin_step_overhead_seconds",
            "histogram",
            "time between two calls while samples wait, s",
            "unet",
            STEP_SECONDS,
        ),
        MetricFamily("respin_unet_busy_seconds_total", "counter", "time during which a call was running, s", "unet"),
        MetricFamily("respin_sample_failures_total", "counter", "samples that failed", "unet"),
        MetricFamily(
            "respin_network_loads_total", "counter", "loads of a network that shares its memory with others", "network"
        ),
        MetricFamily(
            "respin_network_evictions_total", "counter", "evictions of a network to make room for another", "network"
        ),
        MetricFamily(
            "respin_networks_bytes", "gauge", "computed memory of the loaded networks, where they share it, bytes"
        ),
        MetricFamily("respin_cache_hits_total", "counter", "results found in a cache", "cache"),
        MetricFamily("respin_cache_misses_total", "counter", "results that had to be computed", "cache"),
        MetricFamily("respin_cache_evictions_total", "counter", "results evicted to make room", "cache"),
        MetricFamily("respin_cache_bytes", "gauge", "size of the cached results, bytes", "cache"),
    )
}
"""All metrics by name."""


class Meter(Protocol):
    """Records measurements, from any thread."""

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Increase a counter."""

    def set(self, name: str, value: float, label: str = "") -> None:
        """Set a gauge."""

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Add an observation to a histogram."""


class InMemoryMeter:
    """A meter that keeps all measurements, for tests and benchmarks."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], float] = defaultdict(float)
        self.observations: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._lock = threading.Lock()

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Increase a counter."""
        with self._lock:
            self.values[_check_kind(name, "counter"), label] += amount

    def set(self, name: str, value: float, label: str = "") -> None:
        """Set a gauge."""
        with self._lock:
            self.values[_check_kind(name, "gauge"), label] = value

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Add an observation to a histogram."""
        with self._lock:
            self.observations[_check_kind(name, "histogram"), label].append(value)


def _check_kind(name: str, kind: Kind) -> str:
    if METRIC_FAMILIES[name].kind != kind:
        raise TypeError(f"{name} is a {METRIC_FAMILIES[name].kind}, not a {kind}")
    return name


class NullMeter:
    """A meter that discards everything."""

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Discard it."""

    def set(self, name: str, value: float, label: str = "") -> None:
        """Discard it."""

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Discard it."""
