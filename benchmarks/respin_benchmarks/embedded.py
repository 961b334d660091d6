"""The embedded server that benchmarks measure, and the memory that it takes."""

from __future__ import annotations

import contextlib
import math
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from respin.bundled import bundled
from respin.limits import EngineLimits
from respin.profiles import PROFILES
from respin_benchmarks.gpu import MIB
from respin_server.assemble import assemble
from respin_server.launcher import EmbeddedTriton, ServerOptions

SERVED_HERE = ("cpu", "local")
"""The profiles that the embedded server has."""

NO_CACHES = EngineLimits(cache_mib=0)
"""Of a server that is shown the same photo again and again."""

POLL_S = 0.5
"""Between two readings of a server's memory: the kernel walks every page of every process for each."""


@contextmanager
def embedded(
    profile: str, *, models: Path | None = None, limits: EngineLimits = NO_CACHES, **options: Any
) -> Iterator[EmbeddedTriton]:
    """Start a server on free ports, for as long as the `with` lasts.

    Args:
        profile: one of `SERVED_HERE`.
        models: folder of the set; None = the mini one.
        limits: of the engine.
        **options: further ones of `ServerOptions`.
    """
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        set_folder = models or bundled("models/mini")
        assemble(bundled("model_repository"), set_folder, PROFILES[profile], repository, limits)
        with started(repository, profile, **options) as server:
            yield server


@contextmanager
def started(repository: Path, profile: str, **options: Any) -> Iterator[EmbeddedTriton]:
    """Start a server of a repository that is there, on free ports, for as long as the `with` lasts."""
    with EmbeddedTriton(ServerOptions(repository, profile, grpc_port=0, http_port=0, metrics_port=0, **options)) as it:
        yield it


@dataclass(frozen=True)
class MemoryReading:
    """Memory of a server's processes at one moment, MiB."""

    rss: float  # resident memory of each, summed: what several share is counted several times
    pss: float  # the same with each shared page counted once


class Processes:
    """The processes of one server.

    Args:
        pid: of the server itself; its children are those that it has now.
    """

    def __init__(self, pid: int) -> None:
        server = psutil.Process(pid)
        self._processes = [server, *server.children(recursive=True)]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._processes)

    def read_memory(self) -> MemoryReading:
        """Read what they take now; a process that has ended takes nothing."""
        rss = pss = 0.0
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # or its ZombieProcess
                memory = process.memory_full_info()
                rss, pss = rss + memory.rss / MIB, pss + memory.pss / MIB
        return MemoryReading(rss, pss)


class Readable(Protocol):
    """What `MemoryWatch` reads."""

    def read_memory(self) -> MemoryReading:
        """Read what is taken now."""


class MemoryWatch:
    """Reads memory again and again, in a thread of its own, for as long as the `with` lasts; at least twice.

    Args:
        processes: to read; None = out of reach, so that the peak is NaN.
    """

    def __init__(self, processes: Readable | None) -> None:
        self._processes = processes
        self._readings: list[MemoryReading] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory watch")

    def __enter__(self) -> MemoryWatch:
        """Begin with a reading."""
        self._read()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()
        self._read()

    @property
    def peak_pss(self) -> float:
        """The greatest of all readings, MiB."""
        return round(max((reading.pss for reading in self._readings), default=math.nan), 1)

    def _read(self) -> None:
        if self._processes:
            self._readings.append(self._processes.read_memory())

    def _run(self) -> None:
        while not self._ended.wait(POLL_S):
            self._read()
