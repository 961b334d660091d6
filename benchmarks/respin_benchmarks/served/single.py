"""One request at a time on the server: where its time goes, and many views in one request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.errors import InternalError
from respin.profiles import PROFILES
from respin_benchmarks.embedded import embedded
from respin_benchmarks.in_process.rows import Interval
from respin_benchmarks.served.rows import SpinRun, StagesRun
from respin_benchmarks.served.server_log import network_calls
from respin_benchmarks.served.servers import JobRequests, MeasuredServer
from respin_client import Client

STAGES = {
    "decoding_s": "decoding",
    "detection_s": "detection",
    "segmentation_s": "segmentation",
    "background_s": "background",
    "super_resolution_s": "super_resolution",
    "outline_s": "outline of a view",
    "composition_s": "composition",
}
"""The engine's own name of each stage, by column."""

REQUESTED = ("box", "background", "image")
"""Outputs that are requested beside the progress: each is sent as soon as its stage is done."""


def measure_stages(servers: Sequence[MeasuredServer], jobs: int, time_is_up: Callable[[], bool]) -> Iterator[StagesRun]:
    """Run one job alone on each server, neighbours in time, so many times.

    Args:
        servers: that are measured.
        jobs: on each.
        time_is_up: whether nothing new may begin.
    """
    for repeat in range(jobs):
        for server in servers:
            if time_is_up():
                return
            columns, request = server.columns(repeat), server.requests.next()
            began_s = time.perf_counter()
            server.client.rotate_object(request)
            latency_s = time.perf_counter() - began_s
            added = server.read_added(1)
            stages: dict[str, Any] = {column: round(added.stage_s(stage), 4) for column, stage in STAGES.items()}
            yield StagesRun(
                **columns,
                latency_s=round(latency_s, 4),
                server_s=round(added.of("respin_job_seconds_sum"), 4),
                inpaint_unet_s=round(added.busy_s(INPAINT_UNET.name), 4),
                zero123_unet_s=round(added.busy_s(ZERO123_UNET.name), 4),
                **stages,
                cache_hits=added.cache_hits,
            )


def measure_spins(
    servers: Sequence[MeasuredServer], views: Sequence[int], repeats: int, time_is_up: Callable[[], bool]
) -> Iterator[SpinRun]:
    """Measure each number of views on every server once, neighbours in time, then all again.

    Args:
        servers: that are measured.
        views: of one request.
        repeats: of each.
        time_is_up: whether nothing new may begin.

    Raises:
        RespinError: a request was not answered, or not completely.
    """
    for repeat in range(repeats):
        for count in views:
            for server in servers:
                if time_is_up():
                    return
                yield _measure_spin(server, count, repeat)


def _measure_spin(server: MeasuredServer, views: int, repeat: int) -> SpinRun:
    columns, request = server.columns(repeat), server.requests.next(views)
    came_s: list[float] = []
    began_s = time.perf_counter()
    for event in server.client.stream(request):
        if event.image is not None:
            came_s.append(time.perf_counter() - began_s)
    latency_s = time.perf_counter() - began_s
    if len(came_s) != views:
        raise InternalError(f"{len(came_s)} views of {views} came")
    added, unet = server.read_added(1), ZERO123_UNET.name
    return SpinRun(
        **columns,
        views=views,
        latency_s=round(latency_s, 4),
        first_view_s=round(came_s[0], 4),
        zero123_busy=round(added.busy_s(unet) / latency_s, 4),
        zero123_samples=round(added.samples_per_call(unet), 3),
        zero123_calls=sum(added.batch_sizes(unet).values()),
        cache_hits=added.cache_hits,
    )


def trace_job(server: MeasuredServer) -> list[Interval]:
    """Run one more job and return what was done when: by the server's log if networks are its models, else messages."""
    profile = PROFILES.get(server.profile)
    if profile is not None and profile.networks == "triton":
        return trace_by_log(server.profile, server.requests)
    return trace_by_messages(server)


def trace_by_log(profile: str, requests: JobRequests) -> list[Interval]:
    """Return each call of a network in one job, from the log of a server that logs every request."""
    with TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with embedded(profile, verbose=True, log_file=log) as server, Client(str(server.endpoints["gRPC"])) as client:
            client.rotate_object(requests.next())
            warm = log.stat().st_size
            client.rotate_object(requests.next())
            with log.open("rb") as file:
                file.seek(warm)
                return network_calls(file.read().decode(errors="replace"))


def trace_by_messages(server: MeasuredServer) -> list[Interval]:
    """Return each message of one job, as its client received it: an interval without length, named after the stage."""
    messages = []
    began_s = time.perf_counter()
    for event in server.client.stream(server.requests.next(), outputs=REQUESTED):
        came_s = round(time.perf_counter() - began_s, 5)
        messages.append(Interval("view done" if event.image is not None else event.stage, came_s, came_s))
    server.read_added(1)
    return messages
