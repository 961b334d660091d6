"""Many jobs at the same time: closed loops of several sizes, and open loops at shares of what those reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin_benchmarks.served.memory import MemoryWatch
from respin_benchmarks.served.metrics import Reading
from respin_benchmarks.served.offered import Burst, closed_loop, open_loop, poisson_arrivals_s
from respin_benchmarks.served.rows import LoadRun, text_from_batches
from respin_benchmarks.served.servers import Served
from respin_benchmarks.step_scheduler.ledger import percentile

UNETS = {"zero123": ZERO123_UNET.name, "inpaint": INPAINT_UNET.name}
"""The UNets by what the columns call them."""


@dataclass(frozen=True)
class Cell:
    """One way of sending jobs.

    Args:
        concurrency: jobs kept under way; 0 = by `rate_share`.
        rate_share: of the closed loops' best throughput, at which jobs come.
    """

    concurrency: int = 0
    rate_share: float = 0.0


@dataclass(frozen=True)
class Loads:
    """What is measured.

    Args:
        concurrencies: of the closed loops.
        rate_shares: of the open loops.
        jobs_each: jobs a worker of a closed loop, on average.
        least_jobs: in a run of a closed loop.
        open_jobs: in a run of an open loop.
        repeats: of every cell, interleaved.
        seed: of the arrivals.
    """

    concurrencies: Sequence[int]
    rate_shares: Sequence[float]
    jobs_each: int = 2
    least_jobs: int = 8
    open_jobs: int = 12
    repeats: int = 2
    seed: int = 0

    def cells(self) -> list[Cell]:
        """The closed ones first, as the open ones' rates follow from them; each kind from little to much.

        In that order the first repeat shows what memory each of them needs: what is taken once is not given back.
        """
        return [*map(Cell, sorted(self.concurrencies)), *(Cell(rate_share=share) for share in sorted(self.rate_shares))]

    def runs(self, servers: int) -> int:
        """How many runs that makes."""
        return self.repeats * len(self.cells()) * servers


def load_runs(servers: Sequence[Served], loads: Loads, time_is_up: Callable[[], bool]) -> Iterator[LoadRun]:
    """Every cell on every server once, neighbours in time, then all again.

    Args:
        servers: that are measured.
        loads: what they are given.
        time_is_up: whether nothing new may begin.
    """
    best: dict[str, float] = {}
    for repeat in range(loads.repeats):
        for cell in loads.cells():
            for served in servers:
                if time_is_up():
                    return
                row = _run(served, cell, loads, repeat, best.get(served.profile, math.nan))
                if cell.concurrency and repeat == 0:
                    best[served.profile] = max(best.get(served.profile, 0.0), row.images_s)
                yield row


def _run(served: Served, cell: Cell, loads: Loads, repeat: int, best_s: float) -> LoadRun:
    noted = served.noted(repeat)
    rate_s = 0.0 if cell.concurrency else round(cell.rate_share * best_s, 4)

    def job() -> object:
        return served.client.rotate_object(served.asked.request())

    with ExitStack() as stack:
        watch = stack.enter_context(MemoryWatch(served.processes)) if served.processes else None
        if cell.concurrency:
            jobs = max(loads.least_jobs, loads.jobs_each * cell.concurrency)
            burst = closed_loop(job, concurrency=cell.concurrency, jobs=jobs)
        else:
            burst = open_loop(job, poisson_arrivals_s(rate_s, loads.open_jobs, loads.seed + repeat))
    added = served.since_last(burst.count("answered"))
    return LoadRun(
        **noted,
        arrival="closed" if cell.concurrency else "open",
        concurrency=cell.concurrency,
        rate_share=cell.rate_share,
        rate_s=rate_s,
        **_answers(burst),
        **_unets(added, burst.wall_s),
        cache_hits=added.cache_hits,
        **memory_columns(watch),
    )


def _answers(burst: Burst) -> dict[str, Any]:
    latencies = burst.latencies_s
    shares = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}
    return {
        "jobs": len(burst.answers),
        "answered": burst.count("answered"),
        "refused": burst.count("refused"),
        "failed": burst.count("failed"),
        "first_error": burst.first_error,
        "wall_s": round(burst.wall_s, 4),
        "images_s": round(len(latencies) / burst.wall_s, 4),
        **{name: round(percentile(latencies, share), 4) if latencies else math.nan for name, share in shares.items()},
        "latencies_s": " ".join(f"{each:.4f}" for each in latencies),
    }


def _unets(added: Reading, wall_s: float) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, unet in UNETS.items():
        columns[f"{name}_busy"] = round(added.busy_s(unet) / wall_s, 4)
        columns[f"{name}_samples"] = round(added.samples_per_call(unet), 3)
        columns[f"{name}_batches"] = text_from_batches(added.batch_sizes(unet))
    return columns


def memory_columns(watch: MemoryWatch | None) -> dict[str, Any]:
    """A row's columns of memory; None = the server is out of reach."""
    if watch is None:
        names = ("idle_rss_mib", "peak_rss_mib", "idle_pss_mib", "peak_pss_mib", "peak_vram_mib")
        return {**dict.fromkeys(names, math.nan), "pss_by_process": "", "vram_by_process": ""}
    return {
        "idle_rss_mib": round(watch.before.rss, 1),
        "peak_rss_mib": round(watch.peak_rss, 1),
        "idle_pss_mib": round(watch.before.pss, 1),
        "peak_pss_mib": round(watch.peak.pss, 1),
        "pss_by_process": _text(watch.peak.by_process),
        "peak_vram_mib": watch.peak_vram.vram,
        "vram_by_process": _text(watch.peak_vram.vram_by_process),
    }


def _text(by_process: dict[str, float]) -> str:
    return " ".join(f"{name}:{mib:.0f}" for name, mib in by_process.items())
