"""The servers that are measured, and the jobs that they are given."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from respin.errors import InvalidInput
from respin.request import RotationRequest
from respin_benchmarks.circumstances import repeat_columns
from respin_benchmarks.embedded import embedded, memory_of
from respin_benchmarks.in_process.engine import request_for_cup
from respin_benchmarks.options import ServedOptions
from respin_benchmarks.served.metrics import MetricsPort, MetricsReading
from respin_client import Client

RUNNING = "running"
"""In place of a profile: a server that was there already, which does not report its own."""

METRICS_PORT = 8002
"""Triton's own."""


class JobRequests:
    """The requests of one measurement: all alike, but each with a seed of its own.

    Args:
        options: with their sampler and steps.
    """

    def __init__(self, options: ServedOptions) -> None:
        self.columns: dict[str, Any] = {
            name: getattr(options, name) for name in ("sampler", "steps", "background_steps")
        }
        self._seeds = itertools.count()

    def next(self, views: int = 1) -> RotationRequest:
        """Return the next one; callable by several threads."""
        return request_for_cup(**self.columns, views=views, seed=next(self._seeds))


@dataclass
class MeasuredServer:
    """A server that is measured."""

    profile: str  # its own, or "running"
    client: Client  # of it, which does not retry
    port: MetricsPort  # of its metrics
    requests: JobRequests  # the jobs it is given
    pid: int | None = None  # of its process; None = out of reach

    def __post_init__(self) -> None:
        """Warm the server, and make sure that it does every job from the beginning.

        Raises:
            InvalidInput: it keeps results for the next job.
            RespinError: it does not answer.
        """
        request = self.requests.next()
        for _ in range(2):
            self.client.rotate_object(request)
        self.reading = self.port.read_settled(MetricsReading(), 2)
        self.client.rotate_object(request)
        if self.read_added(1).cache_hits:
            raise InvalidInput(
                "the server keeps results of earlier jobs, which would be measured in the place of work; "
                "start it with respin serve --limit cache_mib=0"
            )

    def read_added(self, answered: int) -> MetricsReading:
        """Return what the metrics counted since the last reading, once so many answered jobs are in them."""
        before, self.reading = self.reading, self.port.read_settled(self.reading, answered)
        return self.reading.since(before)

    def pss_mib(self) -> float:
        """Return the memory of all its processes, each shared page counted once; NaN if it is out of reach."""
        return math.nan if self.pid is None else memory_of(self.pid).pss

    def columns(self, repeat: int) -> dict[str, Any]:
        """Return the columns of `ServedRun`, with the circumstances of now."""
        return {**repeat_columns(repeat), **self.requests.columns, "profile": self.profile}


@contextmanager
def embedded_servers(profiles: Sequence[str], requests: JobRequests) -> Iterator[list[MeasuredServer]]:
    """Start one server for each profile, all at the same time, so that their runs can alternate."""
    with ExitStack() as stack:
        servers = []
        for profile in profiles:
            server = stack.enter_context(embedded(profile))
            client = stack.enter_context(Client(str(server.endpoints["gRPC"]), retries=0))
            port = MetricsPort(str(server.endpoints["metrics"]))
            servers.append(MeasuredServer(profile, client, port, requests, server.pid))
        yield servers


@contextmanager
def running_server(url: str, metrics_url: str, requests: JobRequests) -> Iterator[list[MeasuredServer]]:
    """Connect to a server that is there already.

    Args:
        url: HOST:PORT of its gRPC.
        metrics_url: HOST:PORT of its metrics; empty = the same host, Triton's own port.
        requests: the jobs it is given.

    Raises:
        RespinError: it does not answer.
    """
    with Client(url, retries=0) as client:
        port = MetricsPort(metrics_url or f"{url.rpartition(':')[0]}:{METRICS_PORT}")
        yield [MeasuredServer(RUNNING, client, port, requests)]
