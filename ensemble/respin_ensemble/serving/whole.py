"""All results of a job in one response, for callers who can take but one."""

from __future__ import annotations

import threading
from collections.abc import Set as AbstractSet

import numpy as np

from respin.specs import Array
from respin_ensemble.pipeline.events import ALL_VIEWS, Event

PER_VIEW = ("image", "novel_view")
"""Outputs of which each camera move gives one."""

Value = Array | bytes | str | float


class Whole:
    """Gathers what events offer, from any thread.

    Args:
        wanted: outputs that the caller asked for.
    """

    def __init__(self, wanted: AbstractSet[str]) -> None:
        self._wanted = wanted
        self._lock = threading.Lock()
        self._values: dict[str, Value] = {}
        self._views: dict[str, dict[int, Value]] = {}

    def add(self, event: Event) -> None:
        """Make what is wanted of an event's results; pictures are encoded here."""
        made = {name: make() for name, make in event.made.items() if name in self._wanted}
        with self._lock:
            for name, value in made.items():
                if name in PER_VIEW:
                    self._views.setdefault(name, {})[max(0, event.view)] = value
                else:
                    self._values[name] = value

    def values(self) -> dict[str, Value]:
        """Everything by output name, views in their order; `view` is among it, so that a response is never empty."""
        with self._lock:
            views = {
                name: np.array([made[view] for view in sorted(made)], np.object_) for name, made in self._views.items()
            }
            return {"view": ALL_VIEWS, **self._values, **views}
