"""The engine's measurements on Triton's own metrics port."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import triton_python_backend_utils as pb_utils

from respin_ensemble.metrics import FAMILIES, Family

Series = tuple[str, str]


class TritonMeter:
    """A `respin_ensemble.metrics.Meter` whose series Triton publishes.

    What it is told waits until `publish`, which one thread alone may call: two threads that update metrics of one stub
    at the same time crash the whole server (Triton 2.51), and an update takes some 40 µs that no step should wait for.
    """

    def __init__(self) -> None:
        # Families must outlive their series.
        self._families = {family.name: _registered(family) for family in FAMILIES.values()}
        self._series: dict[Series, Any] = {}
        self._lock = threading.Lock()
        self._amounts: dict[Series, float] = defaultdict(float)
        self._values: dict[Series, float] = {}
        self._observations: list[tuple[Series, float]] = []

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Raise a counter."""
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
        """Hand everything told since the last time to Triton; from one thread only."""
        with self._lock:
            amounts, self._amounts = self._amounts, defaultdict(float)
            values, self._values = self._values, {}
            observations, self._observations = self._observations, []
        for series, amount in amounts.items():
            self._of(series).increment(amount)
        for series, value in values.items():
            self._of(series).set(value)
        for series, value in observations:
            self._of(series).observe(value)

    def _of(self, series: Series) -> Any:
        """The series of a label's value, made when it is first told of."""
        if series not in self._series:
            name, label = series
            family = FAMILIES[name]
            labels = {family.label: label} if family.label else {}
            buckets = {"buckets": list(family.buckets)} if family.buckets else {}
            self._series[series] = self._families[name].Metric(labels=labels, **buckets)
        return self._series[series]


def _registered(family: Family) -> Any:
    kind = getattr(pb_utils.MetricFamily, family.kind.upper())
    return pb_utils.MetricFamily(name=family.name, description=family.meaning, kind=kind)
