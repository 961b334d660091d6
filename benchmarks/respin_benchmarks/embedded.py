"""The embedded server that benchmarks measure, and what it weighs."""

from __future__ import annotations

import contextlib
import math
import tempfile
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


@contextmanager
def embedded(
    profile: str, *, models: Path | None = None, limits: EngineLimits = NO_CACHES, **options: Any
) -> Iterator[EmbeddedTriton]:
    """A server of its own, on free ports, for as long as the `with` lasts.

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
        served = ServerOptions(repository, profile, grpc_port=0, http_port=0, metrics_port=0, **options)
        with EmbeddedTriton(served) as server:
            yield server


@dataclass(frozen=True)
class Weight:
    """What the processes of a server take at one moment, MiB.

    Args:
        rss: memory that is there for each, summed: what several share is counted several times.
        pss: the same with each shared page counted once.
        by_process: PSS by the model that a process runs; of the server's own process by its name.
        vram: memory in use of the GPU as a whole, whoever holds it; NaN where there is none.
        vram_by_process: of the server's processes, where NVML tells.
    """

    rss: float
    pss: float
    by_process: dict[str, float]
    vram: float = math.nan
    vram_by_process: dict[str, float] = field(default_factory=dict)


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
        """How many there are."""
        return len(self._named)

    def weight(self) -> Weight:
        """What they take now; one that has ended takes nothing."""
        rss, by_process = 0.0, dict.fromkeys((name for _, name in self._named), 0.0)
        for process, name in self._named:
            with contextlib.suppress(psutil.NoSuchProcess):  # or its ZombieProcess
                memory = process.memory_full_info()
                rss += memory.rss / MIB
                by_process[name] += memory.pss / MIB
        return Weight(rss, sum(by_process.values()), by_process, *self._vram())

    def _vram(self) -> tuple[float, dict[str, float]]:
        if self._gpu is None:
            return math.nan, {}
        held, by_process = self._gpu.by_process_mib(), dict[str, float]()
        for process, name in self._named:
            if process.pid in held:
                by_process[name] = by_process.get(name, 0.0) + held[process.pid]
        return self._gpu.used_mib(), by_process
