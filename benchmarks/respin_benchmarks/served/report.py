"""The report on whole jobs on the server."""

from __future__ import annotations

import math
from pathlib import Path

from respin.report.rows import read_rows
from respin_benchmarks.in_process.analysis import median_of
from respin_benchmarks.in_process.report import jobs_file
from respin_benchmarks.in_process.rows import JobRun
from respin_benchmarks.runner import PageReport
from respin_benchmarks.served.page import latencies_s, page_of
from respin_benchmarks.served.rows import LoadRun, SpinRun, StagesRun

LOAD, SPIN, STAGES = "served_load.csv", "served_spin.csv", "served_stages.csv"


def text_of(results: Path) -> str:
    """Return the section.

    Args:
        results: folder of the CSV files; what is not there is left out.
    """
    cold = [run for run in read_rows(jobs_file(results, "cpu"), JobRun) if run.way == "cold baseline"]
    return page_of(
        read_rows(results / LOAD, LoadRun),
        read_rows(results / SPIN, SpinRun),
        read_rows(results / STAGES, StagesRun),
        median_of(cold, "memory_mib") or math.nan,
    )


def draw(results: Path, images: Path) -> None:
    """Draw the pictures."""
    from respin_benchmarks.served.plots import draw_batches, draw_load  # noqa: PLC0415 (matplotlib)

    loads = read_rows(results / LOAD, LoadRun)
    if latencies_s(loads):
        draw_load(loads, images / "served_load.png")
    if any(run.concurrency for run in loads):
        draw_batches(loads, images / "served_batches.png")


SERVED = PageReport("served", text_of, draw)
