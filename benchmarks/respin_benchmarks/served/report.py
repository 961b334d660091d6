"""Bring the page and its pictures up to date with the results."""

from __future__ import annotations

import math
from pathlib import Path

from respin.report.markdown import write_section
from respin.report.rows import read_rows
from respin_benchmarks.in_process.job_cells import median
from respin_benchmarks.in_process.report import jobs_file
from respin_benchmarks.in_process.rows import Interval, JobRun
from respin_benchmarks.served.page import SECTION, latencies_s, page_of
from respin_benchmarks.served.plots import draw_batches, draw_job, draw_load
from respin_benchmarks.served.rows import LoadRun, SpinRun, StagesRun

LOAD, SPIN, STAGES = "served_load.csv", "served_spin.csv", "served_stages.csv"


def job_file(results: Path, profile: str) -> Path:
    """Of what one job did when."""
    return results / f"served_job_{profile}.csv"


def text_of(results: Path) -> str:
    """The section.

    Args:
        results: folder of the CSV files; what is not there is left out.
    """
    cold = [run for run in read_rows(jobs_file(results, "cpu"), JobRun) if run.way == "cold baseline"]
    return page_of(
        read_rows(results / LOAD, LoadRun),
        read_rows(results / SPIN, SpinRun),
        read_rows(results / STAGES, StagesRun),
        median(cold, lambda run: run.memory_mib or math.nan),
    )


def write_report(results: Path, page: Path) -> None:
    """Write the section, and draw its pictures.

    Args:
        results: folder of the CSV files.
        page: a Markdown file that has the section; the pictures go into `images` beside it.

    Raises:
        InvalidInput: the page has no such section.
    """
    write_section(page, SECTION, text_of(results))
    images, loads = page.parent / "images", read_rows(results / LOAD, LoadRun)
    if latencies_s(loads):
        draw_load(loads, images / "served_load.png")
    if any(run.concurrency for run in loads):
        draw_batches(loads, images / "served_batches.png")
    profiles = dict.fromkeys(run.profile for run in read_rows(results / STAGES, StagesRun))
    jobs = {profile: read_rows(job_file(results, profile), Interval) for profile in profiles}
    if drawn := {profile: intervals for profile, intervals in jobs.items() if intervals}:
        draw_job(drawn, images / "served_job.png")
