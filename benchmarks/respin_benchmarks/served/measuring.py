"""One measurement of a server each: many jobs at once, many views in one request, one job's stages."""

from __future__ import annotations

import time
from typing import Any

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.errors import InternalError
from respin.report.statistics import percentile
from respin_benchmarks.embedded import MemoryWatch
from respin_benchmarks.sending import send_closed_loop
from respin_benchmarks.served.rows import LoadRun, SpinRun, StagesRun
from respin_benchmarks.served.servers import MeasuredServer

JOBS_EACH = 2
"""Of each worker of a closed loop, at least."""

STAGES = {
    "decoding_s": "decoding",
    "segmentation_s": "segmentation",
    "background_s": "background",
    "super_resolution_s": "super_resolution",
    "outline_s": "outline of a view",
    "composition_s": "composition",
}
"""The engine's own name of each stage, by column."""


def measure_load(server: MeasuredServer, concurrency: int, repeat: int, *, jobs: int) -> LoadRun:
    """Keep so many jobs under way until all are done.

    Args:
        server: that is measured.
        concurrency: jobs at the same time.
        repeat: number of the run.
        jobs: at least so many in all.
    """
    columns = server.columns(repeat)
    with MemoryWatch(server.processes) as watch:
        burst = send_closed_loop(
            lambda: server.client.rotate_object(server.requests.next()),
            concurrency=concurrency,
            jobs=max(jobs, JOBS_EACH * concurrency),
        )
    latencies_s = burst.latencies_s
    added = server.read_added(len(latencies_s))
    return LoadRun(
        **columns,
        concurrency=concurrency,
        jobs=len(burst.jobs),
        refused=burst.count("refused"),
        failed=burst.count("failed"),
        first_error=burst.first_error,
        images_s=round(len(latencies_s) / burst.wall_s, 4),
        p50_s=round(percentile(latencies_s, 0.5), 4),
        p95_s=round(percentile(latencies_s, 0.95), 4),
        latencies_s=" ".join(f"{each:.4f}" for each in latencies_s),
        zero123_busy=round(added.busy_s(ZERO123_UNET.name) / burst.wall_s, 4),
        inpaint_busy=round(added.busy_s(INPAINT_UNET.name) / burst.wall_s, 4),
        zero123_samples=round(added.samples_per_call(ZERO123_UNET.name), 3),
        inpaint_samples=round(added.samples_per_call(INPAINT_UNET.name), 3),
        peak_pss_mib=watch.peak_pss,
    )


def measure_spin(server: MeasuredServer, views: int, repeat: int) -> SpinRun:
    """Ask for so many views in one request.

    Raises:
        RespinError: it was not answered, or not completely.
    """
    columns, request = server.columns(repeat), server.requests.next(views)
    came_s: list[float] = []
    began_s = time.perf_counter()
    for event in server.client.stream(request):
        if event.image is not None:
            came_s.append(time.perf_counter() - began_s)
    latency_s = time.perf_counter() - began_s
    if len(came_s) != views:
        raise InternalError(f"{len(came_s)} views of {views} came")
    return SpinRun(
        **columns,
        views=views,
        latency_s=round(latency_s, 4),
        first_view_s=round(came_s[0], 4),
        zero123_samples=round(server.read_added(1).samples_per_call(ZERO123_UNET.name), 3),
    )


def measure_stages(server: MeasuredServer, repeat: int) -> StagesRun:
    """Run one job alone.

    Raises:
        RespinError: it was not answered.
    """
    columns, request = server.columns(repeat), server.requests.next()
    began_s = time.perf_counter()
    server.client.rotate_object(request)
    latency_s = time.perf_counter() - began_s
    added = server.read_added(1)
    stages: dict[str, Any] = {column: round(added.stage_s(stage), 4) for column, stage in STAGES.items()}
    return StagesRun(
        **columns,
        latency_s=round(latency_s, 4),
        server_s=round(added.of("respin_job_seconds_sum"), 4),
        inpaint_unet_s=round(added.busy_s(INPAINT_UNET.name), 4),
        zero123_unet_s=round(added.busy_s(ZERO123_UNET.name), 4),
        **stages,
    )
