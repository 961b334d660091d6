"""The files of one device's results, and the report that is written from them."""

from __future__ import annotations

from pathlib import Path

from respin.report.rows import read_rows
from respin_benchmarks.in_process.analysis import latencies_by_way
from respin_benchmarks.in_process.page import page_of
from respin_benchmarks.in_process.rows import Interval, JobRun, NetworkRun
from respin_benchmarks.runner import PageReport

LABELS = ("cpu", "cpu_full", "cuda")
"""Of the devices' results; "cpu_full" are full-size networks on a CPU."""


def networks_file(results: Path, label: str) -> Path:
    """Return the file of the rows on single networks."""
    return results / f"networks_{label}.csv"


def jobs_file(results: Path, label: str) -> Path:
    """Return the file of the rows on whole jobs."""
    return results / f"jobs_{label}.csv"


def intervals_file(results: Path, label: str, runtime: str) -> Path:
    """Return the file of what one job did when."""
    return results / f"intervals_{label}_{runtime.replace(' ', '_')}.csv"


def in_process_report(label: str) -> PageReport:
    """Return the report on one device.

    Args:
        label: one of `LABELS`.
    """

    def text(results: Path) -> str:
        jobs = read_rows(jobs_file(results, label), JobRun)
        return page_of(jobs, read_rows(networks_file(results, label), NetworkRun), label)

    return PageReport(f"in process, {label}", text, lambda results, images: draw(results, label, images))


def draw(results: Path, label: str, images: Path) -> None:
    """Draw the pictures of one device.

    Args:
        results: folder of the CSV files.
        label: one of `LABELS`.
        images: folder of the PNG files.
    """
    # matplotlib, which a machine that only measures need not have
    from respin_benchmarks.in_process.plots import draw_jobs, draw_latencies, draw_limits  # noqa: PLC0415

    jobs = read_rows(jobs_file(results, label), JobRun)
    runtimes = dict.fromkeys(run.runtime for run in jobs if run.way == "engine")
    intervals = {runtime: read_rows(intervals_file(results, label, runtime), Interval) for runtime in runtimes}
    if drawn := {runtime: rows for runtime, rows in intervals.items() if rows}:
        draw_jobs(drawn, images / f"jobs_{label}.png")
    if latencies := latencies_by_way(jobs):
        draw_latencies(latencies, images / f"baseline_{label}.png")
    if networks := read_rows(networks_file(results, label), NetworkRun):
        draw_limits(networks, images / f"limits_{label}.png")
