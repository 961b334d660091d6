"""One request at a time on the server: where its time goes, and many views in one request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.errors import InternalError
from respin_benchmarks.served.rows import SpinRun, StagesRun
from respin_benchmarks.served.servers import MeasuredServer

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
