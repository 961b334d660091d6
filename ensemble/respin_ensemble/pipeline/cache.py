"""Results that later requests can reuse: keyed by content, bounded by bytes, computed once for concurrent requests."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, Protocol, TypeVar

import numpy as np

from respin.specs import Array
from respin_ensemble.metrics import Meter, NullMeter
from respin_ensemble.pipeline.cancellation import Cancellation

POLL_S = 0.05
"""How often a thread that waits for another thread's result checks whether its own job was cancelled, seconds."""


class Sized(Protocol):
    """A value that knows its size in memory."""

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes."""
        ...


T = TypeVar("T", bound=Sized)


def digest(*parts: object) -> str:
    """Return the SHA-256 of content: arrays by dtype, shape and bytes, other values by type and `repr`.

    Args:
        *parts: bytes, arrays, or values whose `repr` is complete: text, numbers, tuples and None.
    """
    whole = hashlib.sha256()
    for part in parts:
        # With the length of each part, so that ("ab", "c") is not ("a", "bc").
        head, body = _describe(part)
        whole.update(f"{head}:{len(body)};".encode())
        whole.update(body)
    return whole.hexdigest()


def _describe(part: object) -> tuple[str, bytes]:
    if isinstance(part, bytes):
        return "bytes", part
    if isinstance(part, np.ndarray):
        array: Array = np.ascontiguousarray(part)
        return f"{array.dtype.str}{array.shape}", array.tobytes()
    return type(part).__name__, repr(part).encode()


class Cache(Generic[T]):
    """A thread-safe LRU cache of results of one kind, bounded by bytes.

    Args:
        name: label in the metrics.
        capacity_bytes: limit on the size of all results; 0 = nothing is cached or shared.
        meter: receives hits, misses, evictions and bytes.
    """

    def __init__(self, name: str, capacity_bytes: int, meter: Meter | None = None) -> None:
        self._name = name
        self._capacity_bytes = capacity_bytes
        self._meter = meter or NullMeter()
        self._cached: OrderedDict[str, T] = OrderedDict()
        self._pending: dict[str, Future[T]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of cached results."""
        return len(self._cached)

    def peek(self, key: str) -> T | None:
        """Return a cached result; None if there is none. Nothing is computed or counted, and nothing is kept longer."""
        with self._lock:
            return self._cached.get(key)

    def get(self, key: str, compute: Callable[[], T], cancellation: Cancellation | None = None) -> T:
        """Return the result of a key: cached, computed by another thread at the moment, or computed now.

        Args:
            key: `digest` of everything that the result depends on.
            compute: computes the result. If it raises, threads that wait for it compute the result themselves.
            cancellation: ends the wait for another thread's result; None = the wait cannot be cancelled.
        """
        if self._capacity_bytes == 0:
            self._meter.add("respin_cache_misses_total", self._name)
            return compute()
        while True:
            with self._lock:
                if key in self._cached:
                    self._cached.move_to_end(key)
                    self._meter.add("respin_cache_hits_total", self._name)
                    return self._cached[key]
                theirs = self._pending.get(key)
                if theirs is None:
                    ours = self._pending[key] = Future[T]()
            if theirs is None:
                return self._compute(key, compute, ours)
            if (result := _wait_for(theirs, cancellation or Cancellation())) is not None:
                self._meter.add("respin_cache_hits_total", self._name)
                return result

    def _compute(self, key: str, compute: Callable[[], T], future: Future[T]) -> T:
        self._meter.add("respin_cache_misses_total", self._name)
        try:
            result = compute()
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._pending[key]
            self._insert(key, result)
        future.set_result(result)
        return result

    def _insert(self, key: str, result: T) -> None:
        if result.nbytes > self._capacity_bytes:
            return
        self._cached[key] = result
        self._bytes += result.nbytes
        while self._bytes > self._capacity_bytes:
            _, oldest = self._cached.popitem(last=False)
            self._bytes -= oldest.nbytes
            self._meter.add("respin_cache_evictions_total", self._name)
        self._meter.set("respin_cache_bytes", self._bytes, self._name)


def _wait_for(future: Future[T], cancellation: Cancellation) -> T | None:
    """Return another thread's result, or None if it failed there."""
    while True:
        try:
            return None if future.exception(timeout=POLL_S) else future.result()
        except FutureTimeoutError:
            cancellation.check()
