"""The embedded server that benchmarks measure, and the memory that it takes."""

from __future__ import annotations

import contextlib
import math
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from respin.bundled import bundled
from respin.limits import EngineLimits
from respin.profiles import PROFILES
from respin_benchmarks.gpu import MIB, Gpu
from respin_server.assemble import assemble
from respin_server.launcher import EmbeddedTriton, ServerOptions
from respin_server.stubs import living_instances

SERVED_HERE = ("cpu", "local")
"""The profiles that the embedded server has."""

NO_CACHES = EngineLimits(cache_mib=0)
"""Of a server that is shown the same photo again and again."""

POLL_S = 0.2
"""Between two readings of a server's memory."""

GREATEST_SHARE = 0.05
"""Of a core that the readings may take: the kernel walks every page of every process for each."""


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
    by_process: dict[str, float]  # PSS by the model that a process runs; of the server's own process by its name
    vram: float = math.nan  # memory in use of the GPU as a whole, by any process; NaN if there is no GPU
    vram_by_process: dict[str, float] = field(default_factory=dict)  # of the server's processes, if NVML reports them


class Processes:
    """The processes of one server.

    Args:
        pid: of the server itself; its children are those that it has now.
        gpu: of the machine.
    """

    def __init__(self, pid: int, gpu: Gpu | None = None) -> None:
        self._gpu = gpu
        server = psutil.Process(pid)
        models = {child: instance.model for instance, child in living_instances(pid).items()}
        self._named = [
            (each, models.get(each.pid) or each.name()) for each in (server, *server.children(recursive=True))
        ]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._named)

    def read_memory(self) -> MemoryReading:
        """Read what they take now; a process that has ended takes nothing."""
        rss, by_process = 0.0, dict.fromkeys((name for _, name in self._named), 0.0)
        for process, name in self._named:
            with contextlib.suppress(psutil.NoSuchProcess):  # or its ZombieProcess
                memory = process.memory_full_info()
                rss += memory.rss / MIB
                by_process[name] += memory.pss / MIB
        return MemoryReading(rss, sum(by_process.values()), by_process, *self._read_vram())

    def _read_vram(self) -> tuple[float, dict[str, float]]:
        if self._gpu is None:
            return math.nan, {}
        held, by_process = self._gpu.by_process_mib(), dict[str, float]()
        for process, name in self._named:
            if process.pid in held:
                by_process[name] = by_process.get(name, 0.0) + held[process.pid]
        return self._gpu.used_mib(), by_process


class MemoryWatch:
    """Reads memory again and again, in a thread of its own, for as long as the `with` lasts; at least twice.

    Args:
        processes: to read.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._readings: list[MemoryReading] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory watch")

    def __enter__(self) -> MemoryWatch:
        """Begin with a reading."""
        self._readings.append(self._processes.read_memory())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()
        self._readings.append(self._processes.read_memory())

    @property
    def before(self) -> MemoryReading:
        """The first reading."""
        return self._readings[0]

    def peak(self, name: str) -> MemoryReading:
        """Return the reading with the greatest value of a field."""
        return max(self._readings, key=lambda reading: float(getattr(reading, name)))

    def _run(self) -> None:
        pause_s = POLL_S
        while not self._ended.wait(pause_s):
            began_s = time.thread_time()
            self._readings.append(self._processes.read_memory())
            pause_s = max(POLL_S, (time.thread_time() - began_s) / GREATEST_SHARE)
