"""The section on a device, in Markdown, and the files that it is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from respin.report.rows import read_rows
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_benchmarks.runner import PageReport
from respin_benchmarks.tables import Repeats, cell_table, cells_of, where_text
from respin_benchmarks.targets import Target, target_table

DEVICES = ("cpu", "cuda")

JOB_COLUMNS = {
    "way": "{way}, {runtime}, {precision}",
    "steps": "{sampler} {steps:g} + {background_steps:g}",
    "views x jobs": "{views:g} x {jobs:g}",
    "ready after, s": "{ready_s:.0f}",
    "latency, s": "{latency_s:.3f}",
    "spread": "{latency_s.spread:.0%}",
    "images/s": "{images_s:.2f}",
    "faster": "{faster}",
    "UNets busy, Zero123 / inpainting": "{zero123_busy:.0%} / {inpaint_busy:.0%}",
    "PSNR view / background, dB": "{psnr_view_db:.1f} / {psnr_background_db:.1f}",
    "memory, MiB: in all / its processes": "{memory:.0f} / {process_memory_mib:.0f}",
}
NETWORK_COLUMNS = {
    "network": "`{network}`",
    "batch": "{batch:g}",
    "GFLOP": "{gflop:.4g}",
    "MiB": "{least_mib:.4g}",
    "limit, ms": "{floor_ms:.3g}",
    "runtime": "{runtime}, {precision}",
    "ms": "{best_ms:.2f}",
    "share of the limit": "{share:.0%}",
    "errors": "{errors} {note}",
}


def networks_file(results: Path, device: str) -> Path:
    """Return the file of the rows on single networks."""
    return results / f"networks_{device}.csv"


def jobs_file(results: Path, device: str) -> Path:
    """Return the file of the rows on whole jobs."""
    return results / f"jobs_{device}.csv"


def in_process_report(device: str) -> PageReport:
    """Return the report on one of `DEVICES`."""

    def text(results: Path) -> str:
        return page_of(
            read_rows(jobs_file(results, device), JobRun), read_rows(networks_file(results, device), NetworkRun), device
        )

    return PageReport(f"in process, {device}", text)


def page_of(rows: Sequence[JobRun], networks: Sequence[NetworkRun], device: str) -> str:
    """Return the section of one device."""
    jobs = [row for row in rows if not row.note]
    lines = [f"* {row.way}, {row.runtime}: not measured: {row.note}" for row in rows if row.note]
    lines += [""] if lines else []
    if any(run.way == "baseline" for run in jobs):
        where = where_text(jobs, f"{jobs[0].weights} weights, photo of {jobs[0].photo}")
        lines += [f"{where}.", "", *target_table(targets_of(jobs, device)), "", *_jobs(jobs), ""]
    if networks:
        lines += [*_networks(networks), ""]
    return "\n".join(lines)


def _jobs(jobs: Sequence[JobRun]) -> list[str]:
    usual = usual_job(jobs)

    def more(cell: Sequence[JobRun]) -> dict[str, Any]:
        faster = ratios(usual, cell, "latency_s") if cell[0].key == usual[0].key else Repeats([])
        return {"faster": ratio_text(faster), "memory": Repeats(run.memory_mib or math.nan for run in cell)}

    cells = cells_of(jobs, "way", "runtime", "views", "jobs", "steps", "background_steps", "sampler")
    held = {f"* {run.way}, {run.runtime}, MiB by process: {run.memory_by_process}" for run in jobs}
    return [
        "Medians of the repeats; spread = (greatest - least) / median. Faster = the baseline's latency over this one's "
        "in the same repeat: the median, and the least to the greatest.",
        "",
        *cell_table(JOB_COLUMNS, cells, more),
        "",
        *sorted(line for line in held if not line.endswith(": ")),
    ]


def usual_job(jobs: Sequence[JobRun]) -> list[JobRun]:
    """Return the baseline's runs: of one photo and one view, at the steps of the script that is replaced."""
    return [run for run in jobs if run.way == "baseline"]


def ratios(over: Sequence[JobRun], under: Sequence[JobRun], column: str) -> Repeats:
    """Return the ratios of a column in repeats that were neighbours in time."""
    values = {(run.commit, run.repeat): float(getattr(run, column)) for run in over}
    pairs = ((values.get((run.commit, run.repeat)), float(getattr(run, column))) for run in under)
    return Repeats(one / other for one, other in pairs if one is not None)


def ratio_text(found: Repeats) -> str:
    """Return the median with the least and the greatest ratio."""
    return "-" if math.isnan(found) else f"{found:.2f} x ({found.least:.2f} to {found.greatest:.2f})"


def targets_of(jobs: Sequence[JobRun], device: str) -> list[Target]:
    """Return the targets that these runs can be compared with, by way and runtime."""
    usual, found = usual_job(jobs), []
    for way, runtime in dict.fromkeys((run.way, run.runtime) for run in jobs if run.way != "baseline"):
        mine = [run for run in jobs if (run.way, run.runtime) == (way, runtime)]
        one = [run for run in mine if run.key == usual[0].key]
        targets = (_gpu_targets if device == "cuda" else _cpu_targets)(usual, one, mine)
        view, background = (Repeats(getattr(run, f"psnr_{name}_db") for run in one) for name in ("view", "background"))
        least_db, text = 30 if device == "cuda" else 40, f"{view:.1f} dB the view, {background:.1f} dB the background"
        same = Target(f"the baseline's picture, at least {least_db} dB", text, min(view, background) >= least_db)
        found += [Target(f"{way}, `{runtime}`: {each.title}", each.measured, each.met) for each in (*targets, same)]
    return [target for target in found if not target.measured.startswith("-")]


def _gpu_targets(usual: Sequence[JobRun], one: Sequence[JobRun], mine: Sequence[JobRun]) -> Iterator[Target]:
    few = [run for run in mine if run.sampler != usual[0].sampler and (run.views, run.jobs) == (1, 1)]
    for runs, limit_s in ((one, 0.8), (few, 0.4)):
        latency_s = Repeats(run.latency_s for run in runs)
        steps = f"{runs[0].steps} + {runs[0].background_steps}" if runs else ""
        yield Target(f"one image at {steps} steps in {limit_s} s", f"{latency_s:.2f} s", latency_s <= limit_s)
    times = ratios([run for run in mine if run.views == 12 and run.sampler == usual[0].sampler], one, "latency_s")
    yield Target("12 views in less than 2.5 times one", ratio_text(times), times < 2.5)
    memory = Repeats(run.memory_mib / 1024 for run in one)
    yield Target("under 9 GB of GPU memory", f"{memory:.1f} GiB", memory < 9)


def _cpu_targets(usual: Sequence[JobRun], one: Sequence[JobRun], mine: Sequence[JobRun]) -> Iterator[Target]:
    faster = ratios(usual, one, "latency_s")
    yield Target("one job at least 1.5 times faster than the warm eager baseline", ratio_text(faster), faster >= 1.5)
    most = max(run.jobs for run in mine)
    more = ratios([run for run in mine if run.jobs == most], usual, "images_s")
    yield Target(f"{most} jobs at once: at least 2 times its images a second", ratio_text(more), more >= 2)


def _networks(runs: Sequence[NetworkRun]) -> list[str]:
    def more(cell: Sequence[NetworkRun]) -> dict[str, Any]:
        best_ms = Repeats(run.best_ms for run in cell)
        return {"best_ms": best_ms, "share": Repeats([cell[0].floor_ms / best_ms])}

    ranges = (Repeats(getattr(run, name) for run in runs) for name in ("matmul_tflops", "copy_gb_s"))
    tflops, copies = (f"{each.least:g} to {each.greatest:g}" for each in ranges)
    return [
        f"Networks by themselves: {where_text(runs, f'{runs[0].weights} weights')}. The limit is set by {tflops} "
        f"TFLOP/s of matrix products and {copies} GB/s of copies, measured in the same runs, and by the arithmetic and "
        "the bytes of a call, counted: weights, inputs and outputs moved once. Medians, on the device alone where a "
        "CUDA graph measures it, else from arrays to arrays.",
        "",
        *cell_table(NETWORK_COLUMNS, cells_of(runs, "network", "batch", "runtime"), more),
    ]
