"""One measurement of a server each: many jobs at once, or one job's stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.errors import Busy, RespinError
from respin.report.statistics import percentile
from respin_benchmarks.embedded import poll_in_background
from respin_benchmarks.served.rows import LoadRun, StagesRun
from respin_benchmarks.served.servers import MeasuredServer

JOBS_EACH = 2
"""Least number of jobs of each worker of a closed loop."""

STAGES = {
    "decoding_s": "decoding",
    "segmentation_s": "segmentation",
    "background_s": "background",
    "super_resolution_s": "super_resolution",
    "outline_s": "outline of a view",
    "composition_s": "composition",
}
"""The engine's own name of each stage, by column."""


@dataclass(frozen=True)
class SentBurst:
    """Outcome of jobs that were sent together."""

    latencies_s: Sequence[float]  # of those that were answered, in the order of sending
    refused: int  # for lack of room
    failed: int  # in any other way
    first_error: str  # of a job that was not answered; empty if all were
    wall_s: float  # from the first job's being sent to the last answer


def send_closed_loop(job: Callable[[], object], *, concurrency: int, jobs: int) -> SentBurst:
    """Keep so many jobs under way: each worker sends its next one as soon as it has the answer.

    Args:
        job: does one to its end; raises `RespinError` if the server did not answer.
        concurrency: workers.
        jobs: in all.
    """

    def send(_number: int) -> float | RespinError:
        sent_s = time.perf_counter()
        try:
            job()
        except RespinError as error:
            return error
        return time.perf_counter() - sent_s

    began_s = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as workers:
        outcomes = list(workers.map(send, range(jobs)))
    wall_s = time.perf_counter() - began_s
    errors = [each for each in outcomes if isinstance(each, RespinError)]
    refused = sum(isinstance(error, Busy) for error in errors)
    return SentBurst(
        latencies_s=[each for each in outcomes if isinstance(each, float)],
        refused=refused,
        failed=len(errors) - refused,
        first_error=f"{type(errors[0]).__name__}: {errors[0]}" if errors else "",
        wall_s=wall_s,
    )


def measure_load(server: MeasuredServer, repeat: int, *, concurrency: int, jobs: int) -> LoadRun:
    """Keep so many jobs under way until all are done.

    Args:
        server: that is measured.
        repeat: number of the run.
        concurrency: jobs at the same time.
        jobs: at least so many in all.
    """
    columns, jobs = server.columns(repeat), max(jobs, JOBS_EACH * concurrency)
    with poll_in_background(server.pss_mib) as pss_mib:
        burst = send_closed_loop(
            lambda: server.client.rotate_object(server.request()), concurrency=concurrency, jobs=jobs
        )
    latencies_s = burst.latencies_s
    added = server.read_added(len(latencies_s))
    return LoadRun(
        **columns,
        concurrency=concurrency,
        jobs=jobs,
        refused=burst.refused,
        failed=burst.failed,
        first_error=burst.first_error,
        images_s=round(len(latencies_s) / burst.wall_s, 4),
        p50_s=round(percentile(latencies_s, 0.5), 4),
        p95_s=round(percentile(latencies_s, 0.95), 4),
        latencies_s=" ".join(f"{each:.4f}" for each in latencies_s),
        zero123_busy=round(added.busy_s(ZERO123_UNET.name) / burst.wall_s, 4),
        inpaint_busy=round(added.busy_s(INPAINT_UNET.name) / burst.wall_s, 4),
        zero123_samples=round(added.samples_per_call(ZERO123_UNET.name), 3),
        inpaint_samples=round(added.samples_per_call(INPAINT_UNET.name), 3),
        peak_pss_mib=round(max(pss_mib), 1),
    )


def measure_stages(server: MeasuredServer, repeat: int) -> StagesRun:
    """Run one job alone.

    Raises:
        RespinError: it was not answered.
    """
    columns, request = server.columns(repeat), server.request()
    began_s = time.perf_counter()
    server.client.rotate_object(request)
    latency_s = time.perf_counter() - began_s
    added = server.read_added(1)
    stages: dict[str, Any] = {
        column: round(added.value("respin_stage_seconds_sum", stage=stage), 4) for column, stage in STAGES.items()
    }
    return StagesRun(
        **columns,
        latency_s=round(latency_s, 4),
        server_s=round(added.value("respin_job_seconds_sum"), 4),
        inpaint_unet_s=round(added.busy_s(INPAINT_UNET.name), 4),
        zero123_unet_s=round(added.busy_s(ZERO123_UNET.name), 4),
        **stages,
    )
