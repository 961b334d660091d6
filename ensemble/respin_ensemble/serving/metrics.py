"""Publish the engine's metrics on Triton's metrics port."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import triton_python_backend_utils as pb_utils

from respin_ensemble.metrics import METRIC_FAMILIES, MetricFamily

Series = tuple[str, str]


class TritonMeter:
    """A `respin_ensemble.metrics.Meter` whose series Triton publishes.

    Measurements are buffered until `publish`, which only one thread may call: two threads that update metrics of one
    process at the same time crash the whole server (Triton 2.51), and an update takes 40 µs that would delay a step.
    """

    def __init__(self) -> None:
        # Families must outlive their series.
        self._families = {family.name: _register(family) for family in METRIC_FAMILIES.values()}
        self._series: dict[Series, Any] = {}
        self._lock = threading.Lock()
        self._amounts: dict[Series, float] = defaultdict(float)
        self._values: dict[Series, float] = {}
        self._observations: list[tuple[Series, float]] = []

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Increase a counter."""
        with self._lock:
            self._amounts[name, label] += amount

    def set(self, name: str, value: float, label: str = "") -> None:
        """Set a gauge."""
        with self._lock:
            self._values[name, label] = value

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Add an observation to a histogram."""
        with self._lock:
            self._observations.append(((name, label), value))

    def publish(self) -> None:
        """Pass all measurements since the last call to Triton; call it from one thread only."""
        with self._lock:
            amounts, self._amounts = self._amounts, defaultdict(float)
            values, self._values = self._values, {}
            observations, self._observations = self._observations, []
        for series, amount in amounts.items():
            self._series_of(series).increment(amount)
        for series, value in values.items():
            self._series_of(series).set(value)
        for series, value in observations:
            self._series_of(series).observe(value)

    def close(self) -> None:
        """Take the series back from Triton; after the process has lost its shared memory, that would crash it."""
        self._series.clear()
        self._families.clear()

    def _series_of(self, series: Series) -> Any:
        """Return the series of a label value, created at its first use."""
        if series not in self._series:
            name, label = series
            family = METRIC_FAMILIES[name]
            labels = {family.label: label} if family.label else {}
            buckets = {"buckets": list(family.buckets)} if family.buckets else {}
            self._series[series] = self._families[name].Metric(labels=labels, **buckets)
        return self._series[series]


def _register(family: MetricFamily) -> Any:
    kind = getattr(pb_utils.MetricFamily, family.kind.upper())
    return pb_utils.MetricFamily(name=family.name, description=family.meaning, kind=kind)
