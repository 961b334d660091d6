"""The embedded server that benchmarks measure, and the memory that it takes."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from respin.bundled import bundled_path
from respin.limits import EngineLimits
from respin.profiles import PROFILES
from respin_benchmarks.gpu import MIB
from respin_server.assemble import assemble
from respin_server.launcher import EmbeddedTriton, ServerOptions

SERVED_HERE = ("cpu", "local")
"""The profiles that the embedded server has."""

NO_CACHES = EngineLimits(cache_mib=0)
"""Limits of a server that is sent the same photo again and again."""

POLL_S = 0.5
"""Time between two readings of a server's memory, seconds: the kernel walks every page of every process for each."""


@contextmanager
def embedded_server(
    profile: str, *, models: Path | None = None, limits: EngineLimits = NO_CACHES, **options: Any
) -> Iterator[EmbeddedTriton]:
    """Start a server on free ports, for the `with` body.

    Args:
        profile: name of one of `SERVED_HERE`.
        models: folder of the set; None = the mini one.
        limits: limits of the engine.
        **options: other fields of `ServerOptions`.
    """
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        set_folder = models or bundled_path("models/mini")
        assemble(bundled_path("model_repository"), set_folder, PROFILES[profile], repository, limits)
        with repository_server(repository, profile, **options) as server:
            yield server


@contextmanager
def repository_server(repository: Path, profile: str, **options: Any) -> Iterator[EmbeddedTriton]:
    """Start a server of an existing repository, on free ports, for the `with` body."""
    with EmbeddedTriton(ServerOptions(repository, profile, grpc_port=0, http_port=0, metrics_port=0, **options)) as it:
        yield it


@dataclass(frozen=True)
class ServerMemory:
    """Memory of all processes of a server at one moment, MiB."""

    rss: float  # resident memory of each, summed: what several share is counted several times
    pss: float  # the same with each shared page counted once
    processes: int  # how many there are


def memory_of(pid: int) -> ServerMemory:
    """Read what a server takes now, given its process; one that ends meanwhile takes nothing."""
    taken = []
    with suppress(psutil.NoSuchProcess):  # or its ZombieProcess
        server = psutil.Process(pid)
        for process in (server, *server.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                taken.append(process.memory_full_info())
    return ServerMemory(sum(each.rss for each in taken) / MIB, sum(each.pss for each in taken) / MIB, len(taken))


@contextmanager
def poll_in_background(read: Callable[[], float]) -> Iterator[list[float]]:
    """Call a function again and again, in a thread of its own, for the `with` body; at least twice.

    Args:
        read: returns one reading; the yielded list collects them.
    """
    readings, ended = [read()], threading.Event()

    def poll() -> None:
        while not ended.wait(POLL_S):
            readings.append(read())

    with ThreadPoolExecutor(1) as threads:
        polling = threads.submit(poll)
        try:
            yield readings
        finally:
            ended.set()
    polling.result()
    readings.append(read())
