"""The servers that are measured, and what is asked of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from respin.errors import InvalidInput
from respin.request import RotationRequest
from respin_benchmarks.circumstances import Circumstances
from respin_benchmarks.embedded import Processes, embedded
from respin_benchmarks.gpu import open_gpu
from respin_benchmarks.in_process.engine import request_for_cup
from respin_benchmarks.served.metrics import MetricsPort, Reading
from respin_client import Client

RUNNING = "running"
"""In the place of a profile: a server that was there already, which does not tell its own."""

METRICS_PORT = 8002
"""Triton's own."""


class Asked:
    """The jobs of one measurement: all alike, but that none has the seed of another.

    Args:
        steps: of Zero123.
        background_steps: of the inpainting.
        sampler: of both.
    """

    def __init__(self, *, steps: int, background_steps: int, sampler: str) -> None:
        self.steps, self.background_steps, self.sampler = steps, background_steps, sampler
        self._seeds = itertools.count()
        self._made: dict[int, RotationRequest] = {}
        self._lock = threading.Lock()

    def request(self, views: int = 1) -> RotationRequest:
        """The next one; its photo's file is the same each time."""
        with self._lock:
            if views not in self._made:
                self._made[views] = request_for_cup(
                    steps=self.steps, background_steps=self.background_steps, views=views, sampler=self.sampler
                )
            return replace(self._made[views], seed=next(self._seeds))


@dataclass
class Served:
    """A server that is measured.

    Args:
        profile: its own, or "running".
        client: of it, which sends nothing again.
        port: of its metrics.
        asked: the jobs it is given.
        processes: its own; None = out of reach.
    """

    profile: str
    client: Client
    port: MetricsPort
    asked: Asked
    processes: Processes | None = None

    def __post_init__(self) -> None:
        """Warm it, and make sure that every job will be done from the beginning.

        Raises:
            InvalidInput: it keeps results for the next job.
            RespinError: it does not answer.
        """
        request = self.asked.request()
        before = Reading()
        for _ in range(2):
            self.client.rotate_object(request)
        self.reading = self.port.settled(before, 2)
        self.client.rotate_object(request)
        if self.since_last(1).cache_hits:
            raise InvalidInput(
                "the server keeps results of earlier jobs, which would be measured in the place of work; "
                "start it with respin serve --limit cache_mib=0"
            )

    def since_last(self, answered: int) -> Reading:
        """What the metrics tell since they were asked last, once so many answered jobs are counted."""
        before, self.reading = self.reading, self.port.settled(self.reading, answered)
        return self.reading.since(before)

    def noted(self, repeat: int) -> dict[str, Any]:
        """The columns that every row has, with the circumstances of now."""
        now = Circumstances.now()
        return {
            "profile": self.profile,
            "repeat": repeat,
            "sampler": self.asked.sampler,
            "steps": self.asked.steps,
            "background_steps": self.asked.background_steps,
            "commit": now.commit,
            "date": now.date,
            "machine": f"{now.cores} cores of {now.cpu}",
            "versions": now.versions,
            "load_average": now.load,
        }


@contextmanager
def embedded_servers(profiles: Sequence[str], asked: Asked) -> Iterator[list[Served]]:
    """One server for each profile, all at the same time, so that their runs can alternate."""
    with ExitStack() as stack:
        served = []
        for profile in profiles:
            server = stack.enter_context(embedded(profile))
            client = stack.enter_context(Client(str(server.endpoints["gRPC"]), retries=0))
            port = MetricsPort(str(server.endpoints["metrics"]))
            served.append(Served(profile, client, port, asked, Processes(server.pid, open_gpu())))
        yield served


@contextmanager
def running_server(url: str, metrics_url: str | None, asked: Asked) -> Iterator[list[Served]]:
    """A server that is there already.

    Args:
        url: HOST:PORT of its gRPC.
        metrics_url: HOST:PORT of its metrics; None = the same host, Triton's own port.
        asked: the jobs it is given.

    Raises:
        RespinError: it does not answer.
    """
    with Client(url, retries=0) as client:
        port = MetricsPort(metrics_url or f"{url.rpartition(':')[0]}:{METRICS_PORT}")
        yield [Served(RUNNING, client, port, asked)]
