"""A server of one of the benchmark's repositories, and Triton's own count of what it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tritonclient import grpc as triton

from respin_benchmarks.embedded import started
from respin_benchmarks.step_batcher.repository import PROFILE
from respin_client import Client

QUIET_S = 0.05
"""Between two readings of the statistics, until they are the same: Triton counts a call a moment after its answer."""

Counts = Mapping[str, tuple[int, int]]
"""By model: samples inferred and calls executed."""


class BatcherServer:
    """A server; a context manager.

    Args:
        write_repository: writes a repository, given its folder and that of the UNets' logs of calls.
    """

    def __init__(self, write_repository: Callable[[Path, Path], None]) -> None:
        self._write, self._stack = write_repository, ExitStack()

    def __enter__(self) -> BatcherServer:
        """Start it."""
        self.folder = Path(self._stack.enter_context(TemporaryDirectory()))
        self._write(self.folder / "models", self.folder)
        url = str(self._stack.enter_context(started(self.folder / "models", PROFILE)).endpoints["gRPC"])
        self.client = self._stack.enter_context(Client(url))
        self.triton = self._stack.enter_context(triton.InferenceServerClient(url))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and remove its files."""
        self._stack.close()

    def read_counts(self, models: Sequence[str]) -> Counts:
        """Return Triton's statistics since the server started, once they no longer change."""
        counts, before = self._read_counts(models), None
        while counts != before:
            time.sleep(QUIET_S)
            counts, before = self._read_counts(models), counts
        return counts

    def _read_counts(self, models: Sequence[str]) -> Counts:
        counts = {}
        for model in models:
            statistics = self.triton.get_inference_statistics(model).model_stats[0]
            counts[model] = int(statistics.inference_count), int(statistics.execution_count)
        return counts


def counts_since(now: Counts, before: Counts) -> Counts:
    """Return what was added since an earlier reading."""
    return {name: (now[name][0] - before[name][0], now[name][1] - before[name][1]) for name in now}
