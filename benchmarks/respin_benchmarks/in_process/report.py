"""Bring the page and its pictures up to date with the results of one device."""

from __future__ import annotations

from pathlib import Path

from respin.report.markdown import write_section
from respin.report.rows import read_rows
from respin_benchmarks.in_process.job_cells import latencies_of
from respin_benchmarks.in_process.page import page_of
from respin_benchmarks.in_process.plots import draw_jobs, draw_latencies, draw_limits
from respin_benchmarks.in_process.rows import Interval, JobRun, NetworkRun


def section_name(device: str) -> str:
    """Of the page's section on a device."""
    return f"in process, {device}"


def networks_file(results: Path, device: str) -> Path:
    """Of the rows on single networks."""
    return results / f"networks_{device}.csv"


def jobs_file(results: Path, device: str) -> Path:
    """Of the rows on whole jobs."""
    return results / f"jobs_{device}.csv"


def intervals_file(results: Path, device: str, runtime: str) -> Path:
    """Of what one job did when."""
    return results / f"intervals_{device}_{runtime.replace(' ', '_')}.csv"


def text_of(results: Path, device: str) -> str:
    """The section on a device.

    Args:
        results: folder of the CSV files.
        device: "cpu", "cpu_full" (full-size networks) or "cuda".
    """
    jobs, networks = (
        read_rows(jobs_file(results, device), JobRun),
        read_rows(networks_file(results, device), NetworkRun),
    )
    return page_of(jobs, networks, device)


def write_report(results: Path, device: str, page: Path) -> None:
    """Write the section on a device, and draw its picture.

    Args:
        results: folder of the CSV files.
        device: as of `text_of`.
        page: a Markdown file that has the section; the picture goes into `images` beside it.

    Raises:
        InvalidInput: the page has no such section.
    """
    write_section(page, section_name(device), text_of(results, device))
    jobs, images = read_rows(jobs_file(results, device), JobRun), page.parent / "images"
    runtimes = dict.fromkeys(run.runtime for run in jobs if run.way == "engine")
    intervals = {runtime: read_rows(intervals_file(results, device, runtime), Interval) for runtime in runtimes}
    if drawn := {runtime: rows for runtime, rows in intervals.items() if rows}:
        draw_jobs(drawn, images / f"jobs_{device}.png")
    if latencies := latencies_of(jobs):
        draw_latencies(latencies, images / f"baseline_{device}.png")
    if networks := read_rows(networks_file(results, device), NetworkRun):
        draw_limits(networks, images / f"limits_{device}.png")
