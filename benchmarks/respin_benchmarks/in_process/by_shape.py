"""A network that is prepared anew for each shape of its inputs: what a runtime for any shape is measured beside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from respin.specs import Array, ModelSpec
from respin_ensemble.networks import NetworkCall

MOST_SHAPES = 16
"""Of a network that stay prepared, each with its own copy of the weights; the one unused for longest goes first."""

Shape = tuple[int, ...]


class ByShape:
    """One network, called by one thread at a time.

    Args:
        spec: its contract.
        prepared: makes the call for inputs of these shapes, by name, when they first come.
    """

    def __init__(self, spec: ModelSpec, prepared: Callable[[Mapping[str, Shape]], NetworkCall]) -> None:
        self._spec, self._prepared, self._lock = spec, prepared, threading.Lock()
        self._calls: dict[tuple[Shape, ...], NetworkCall] = {}

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch."""
        shapes = {tensor.name: arrays[tensor.name].shape for tensor in self._spec.inputs}
        with self._lock:
            return self._call(shapes)(arrays)

    def _call(self, shapes: Mapping[str, Shape]) -> NetworkCall:
        key = tuple(shapes.values())
        call = self._calls.pop(key, None)
        if call is None:
            call = self._prepared(shapes)
            if len(self._calls) == MOST_SHAPES:
                del self._calls[next(iter(self._calls))]
        self._calls[key] = call  # last in the order of use
        return call
