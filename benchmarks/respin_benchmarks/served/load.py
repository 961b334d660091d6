"""Many jobs at the same time: closed loops of several sizes, and open loops at shares of what those reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.report.statistics import percentile
from respin_benchmarks.embedded import MemoryWatch
from respin_benchmarks.options import LoadOptions
from respin_benchmarks.sending import SentBurst, poisson_arrivals_s, send_closed_loop, send_open_loop
from respin_benchmarks.served.metrics import MetricsReading
from respin_benchmarks.served.rows import LoadRun, text_from_batches
from respin_benchmarks.served.servers import MeasuredServer

UNETS = {"zero123": ZERO123_UNET.name, "inpaint": INPAINT_UNET.name}
"""The UNets by their prefix of columns."""


@dataclass(frozen=True)
class LoadCell:
    """One way of sending jobs."""

    concurrency: int = 0  # jobs kept under way; 0 = by `rate_share`
    rate_share: float = 0.0  # of the closed loops' best throughput, at which jobs arrive


def load_cells(options: LoadOptions) -> list[LoadCell]:
    """Return the closed loops, then the open ones, whose rates follow from them; each kind from little to much.

    In that order the first repeat shows what memory each of them needs: what is taken once is not given back.
    """
    closed = [LoadCell(concurrency) for concurrency in sorted(options.concurrency)]
    return closed + [LoadCell(rate_share=share) for share in sorted(options.rate) if options.open_jobs]


def measure_load(
    servers: Sequence[MeasuredServer], options: LoadOptions, time_is_up: Callable[[], bool]
) -> Iterator[LoadRun]:
    """Measure every cell on every server once, neighbours in time, then all again.

    Args:
        servers: that are measured.
        options: what they are given.
        time_is_up: whether nothing new may begin.
    """
    best: dict[str, float] = {}
    for repeat in range(options.repeats):
        for cell in load_cells(options):
            for server in servers:
                if time_is_up():
                    return
                row = _measure(server, cell, options, repeat, best.get(server.profile, math.nan))
                if cell.concurrency and repeat == 0:
                    best[server.profile] = max(best.get(server.profile, 0.0), row.images_s)
                yield row


def _measure(server: MeasuredServer, cell: LoadCell, options: LoadOptions, repeat: int, best_s: float) -> LoadRun:
    columns = server.columns(repeat)
    rate_s = 0.0 if cell.concurrency else round(cell.rate_share * best_s, 4)

    def job(_number: int) -> object:
        return server.client.rotate_object(server.requests.next())

    with ExitStack() as stack:
        watch = stack.enter_context(MemoryWatch(server.processes)) if server.processes else None
        if cell.concurrency:
            jobs = max(options.least_jobs, options.jobs_each * cell.concurrency)
            burst = send_closed_loop(job, concurrency=cell.concurrency, jobs=jobs)
        else:
            burst = send_open_loop(job, poisson_arrivals_s(rate_s, options.open_jobs, options.seed + repeat))
    added = server.read_added(burst.count("answered"))
    return LoadRun(
        **columns,
        arrival="closed" if cell.concurrency else "open",
        concurrency=cell.concurrency,
        rate_share=cell.rate_share,
        rate_s=rate_s,
        **_answer_columns(burst),
        **_unet_columns(added, burst.wall_s),
        cache_hits=added.cache_hits,
        **memory_columns(watch),
    )


def _answer_columns(burst: SentBurst) -> dict[str, Any]:
    latencies = burst.latencies_s
    shares = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}
    return {
        "jobs": len(burst.jobs),
        "answered": burst.count("answered"),
        "refused": burst.count("refused"),
        "failed": burst.count("failed"),
        "first_error": burst.first_error,
        "wall_s": round(burst.wall_s, 4),
        "images_s": round(len(latencies) / burst.wall_s, 4),
        **{name: round(percentile(latencies, share), 4) for name, share in shares.items()},
        "latencies_s": " ".join(f"{each:.4f}" for each in latencies),
    }


def _unet_columns(added: MetricsReading, wall_s: float) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for prefix, unet in UNETS.items():
        columns[f"{prefix}_busy"] = round(added.busy_s(unet) / wall_s, 4)
        columns[f"{prefix}_samples"] = round(added.samples_per_call(unet), 3)
        columns[f"{prefix}_batches"] = text_from_batches(added.batch_sizes(unet))
    return columns


def memory_columns(watch: MemoryWatch | None) -> dict[str, Any]:
    """Return a row's columns of memory; None = the server is out of reach."""
    if watch is None:
        names = ("idle_rss_mib", "peak_rss_mib", "idle_pss_mib", "peak_pss_mib", "peak_vram_mib")
        return {**dict.fromkeys(names, math.nan), "pss_by_process": "", "vram_by_process": ""}
    peak, peak_vram = watch.peak("pss"), watch.peak("vram")
    return {
        "idle_rss_mib": round(watch.before.rss, 1),
        "peak_rss_mib": round(watch.peak("rss").rss, 1),
        "idle_pss_mib": round(watch.before.pss, 1),
        "peak_pss_mib": round(peak.pss, 1),
        "pss_by_process": _text(peak.by_process),
        "peak_vram_mib": peak_vram.vram,
        "vram_by_process": _text(peak_vram.vram_by_process),
    }


def _text(by_process: dict[str, float]) -> str:
    return " ".join(f"{name}:{mib:.0f}" for name, mib in by_process.items())
