"""The servers that are measured, and the jobs that they are given."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from respin.errors import InvalidInput
from respin.request import RotationRequest
from respin_benchmarks.circumstances import repeat_columns
from respin_benchmarks.embedded import embedded_server, memory_of
from respin_benchmarks.in_process.engine import request_for_cup
from respin_benchmarks.options import ServedOptions
from respin_benchmarks.served.metrics import MetricsPort, MetricsReading
from respin_client import Client

RUNNING = "running"
"""Entry in place of a profile for a server that was running already, which does not report its own."""

METRICS_PORT = 8002
"""Triton's default port for metrics."""


@dataclass
class MeasuredServer:
    """A server that is measured."""

    profile: str  # its own, or "running"
    client: Client  # of it, which does not retry
    port: MetricsPort  # of its metrics
    job: dict[str, Any]  # sampler and steps of the jobs that it is given
    pid: int | None = None  # of its process; None = out of reach
    seeds: Iterator[int] = field(default_factory=itertools.count)  # one for each request

    def __post_init__(self) -> None:
        """Warm the server, and make sure that it does every job from the beginning.

        Raises:
            InvalidInput: it keeps results for the next job.
            RespinError: it does not answer.
        """
        request = self.request()
        for _ in range(2):
            self.client.rotate_object(request)
        self.reading = self.port.read_settled(MetricsReading(), 2)
        self.client.rotate_object(request)
        if self.read_added(1).cache_hits:
            raise InvalidInput(
                "the server keeps results of earlier jobs, which would be measured in the place of work; "
                "start it with respin serve --limit cache_mib=0"
            )

    def request(self) -> RotationRequest:
        """Return the next request, like all others but for its seed; callable by several threads."""
        return request_for_cup(**self.job, seed=next(self.seeds))

    def read_added(self, answered: int) -> MetricsReading:
        """Return what the metrics counted since the last reading, once so many answered jobs are in them."""
        before, self.reading = self.reading, self.port.read_settled(self.reading, answered)
        return self.reading.since(before)

    def pss_mib(self) -> float:
        """Return the memory of all its processes, each shared page counted once; NaN if it is out of reach."""
        return math.nan if self.pid is None else memory_of(self.pid).pss

    def columns(self, repeat: int) -> dict[str, Any]:
        """Return the columns of `ServedRun`, with the circumstances of now."""
        return {**repeat_columns(repeat), **self.job, "profile": self.profile}


@contextmanager
def measured_servers(options: ServedOptions) -> Iterator[list[MeasuredServer]]:
    """Start a server for each profile, all at the same time, so that their runs can alternate; or take one that runs.

    Raises:
        RespinError: a server that runs does not answer.
    """
    job = {name: getattr(options, name) for name in ("sampler", "steps", "background_steps")}
    with ExitStack() as stack:
        if options.url:
            client = stack.enter_context(Client(options.url, retries=0))
            metrics_url = options.metrics_url or f"{options.url.rpartition(':')[0]}:{METRICS_PORT}"
            yield [MeasuredServer(RUNNING, client, MetricsPort(metrics_url), job)]
            return
        servers = []
        for profile in options.profile:
            server = stack.enter_context(embedded_server(profile))
            client = stack.enter_context(Client(str(server.endpoints["gRPC"]), retries=0))
            port = MetricsPort(str(server.endpoints["metrics"]))
            servers.append(MeasuredServer(profile, client, port, job, server.pid))
        yield servers
