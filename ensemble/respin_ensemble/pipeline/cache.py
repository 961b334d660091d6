"""Results kept for the next request that needs them: by content, bounded by bytes, made once however many ask."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Generic, Protocol, TypeVar

import numpy as np

from respin.specs import Array
from respin_ensemble.metrics import Meter, Silent

LOOK_S = 0.05
"""How often one who waits for another's result asks whether anybody still wants it."""


class Kept(Protocol):
    """What can be kept: it says its size."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        ...


T = TypeVar("T", bound=Kept)


def digest(*parts: object) -> str:
    """SHA-256 of content: arrays by dtype, shape and bytes, everything else by its type and what it prints as.

    Args:
        *parts: bytes, arrays, or values whose `repr` says all of them: text, numbers, tuples and None.
    """
    whole = hashlib.sha256()
    for part in parts:
        # Framed, so that ("ab", "c") is not ("a", "bc").
        head, body = _framed(part)
        whole.update(f"{head}:{len(body)};".encode())
        whole.update(body)
    return whole.hexdigest()


def _framed(part: object) -> tuple[str, bytes]:
    if isinstance(part, bytes):
        return "bytes", part
    if isinstance(part, np.ndarray):
        array: Array = np.ascontiguousarray(part)
        return f"{array.dtype.str}{array.shape}", array.tobytes()
    return type(part).__name__, repr(part).encode()


class Cache(Generic[T]):
    """The results of one kind that were used last, as many as there is room for.

    Args:
        name: for the metrics.
        capacity_bytes: of all results kept; 0 = nothing is kept, and nothing shared.
        meter: is told of hits, misses, evictions and bytes.
    """

    def __init__(self, name: str, capacity_bytes: int, meter: Meter | None = None) -> None:
        self._name = name
        self._capacity_bytes = capacity_bytes
        self._meter = meter or Silent()
        self._kept: OrderedDict[str, T] = OrderedDict()
        self._in_the_making: dict[str, Future[T]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many results are kept."""
        return len(self._kept)

    def get(self, key: str, make: Callable[[], T], still_wanted: Callable[[], None] = lambda: None) -> T:
        """The result of this key: kept, in the making by another thread, or made now.

        Args:
            key: `digest` of everything that the result depends on.
            make: makes it; what it raises passes through, and whoever waited makes it for himself.
            still_wanted: asked while another thread makes it; what it raises ends the wait.
        """
        if self._capacity_bytes == 0:
            self._meter.add("respin_cache_misses_total", self._name)
            return make()
        while True:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    self._meter.add("respin_cache_hits_total", self._name)
                    return self._kept[key]
                theirs = self._in_the_making.get(key)
                if theirs is None:
                    ours = self._in_the_making[key] = Future[T]()
            if theirs is None:
                return self._made(key, make, ours)
            if (result := _awaited(theirs, still_wanted)) is not None:
                self._meter.add("respin_cache_hits_total", self._name)
                return result

    def _made(self, key: str, make: Callable[[], T], future: Future[T]) -> T:
        self._meter.add("respin_cache_misses_total", self._name)
        try:
            result = make()
        except BaseException as error:
            with self._lock:
                del self._in_the_making[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._in_the_making[key]
            self._keep(key, result)
        future.set_result(result)
        return result

    def _keep(self, key: str, result: T) -> None:
        if result.nbytes > self._capacity_bytes:
            return
        self._kept[key] = result
        self._bytes += result.nbytes
        while self._bytes > self._capacity_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
            self._meter.add("respin_cache_evictions_total", self._name)
        self._meter.set("respin_cache_bytes", self._bytes, self._name)


def _awaited(future: Future[T], still_wanted: Callable[[], None]) -> T | None:
    """Another thread's result; None where it failed, which is its own affair."""
    while True:
        try:
            return None if future.exception(timeout=LOOK_S) else future.result()
        except NotYet:
            still_wanted()
