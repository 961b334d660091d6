"""Collect all results of a job into one response, for callers that can receive only one."""

from __future__ import annotations

import threading
from collections.abc import Set as AbstractSet

import numpy as np

from respin.specs import Array
from respin_ensemble.pipeline.events import ALL_VIEWS, JobEvent

PER_VIEW = ("image", "novel_view")
"""Outputs with one element per camera move."""

Value = Array | bytes | str | float


class ResponseAggregator:
    """Collects the results of events, from any thread.

    Args:
        wanted: outputs that the caller asked for.
    """

    def __init__(self, wanted: AbstractSet[str]) -> None:
        self._wanted = wanted
        self._lock = threading.Lock()
        self._values: dict[str, Value] = {}
        self._views: dict[str, dict[int, Value]] = {}

    def add(self, event: JobEvent) -> None:
        """Add the wanted results of an event; images are encoded in this call."""
        results = {name: make() for name, make in event.results.items() if name in self._wanted}
        with self._lock:
            for name, value in results.items():
                if name in PER_VIEW:
                    self._views.setdefault(name, {})[max(0, event.view)] = value
                else:
                    self._values[name] = value

    def values(self) -> dict[str, Value]:
        """Return all results by output name, views in order; `view` is always included, so it is never empty."""
        with self._lock:
            views = {
                name: np.array([by_view[view] for view in sorted(by_view)], np.object_)
                for name, by_view in self._views.items()
            }
            return {"view": ALL_VIEWS, **self._values, **views}
