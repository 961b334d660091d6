"""Every section of the documentation that is written from benchmarks' results."""

from __future__ import annotations

from pathlib import Path

import typer

from respin_benchmarks.gpu_memory import GPU_MEMORY
from respin_benchmarks.in_process.expected import EXPECTED
from respin_benchmarks.in_process.page import DEVICES, in_process_report
from respin_benchmarks.perf_analyzer.session import PERF_ANALYZER
from respin_benchmarks.runner import PageReport
from respin_benchmarks.served.page import SERVED
from respin_benchmarks.startup import STARTUP
from respin_benchmarks.step_batcher.page import STEP_BATCHER

SECTIONS: dict[str, tuple[PageReport, ...]] = {
    "docs/benchmarks.md": (*map(in_process_report, DEVICES), EXPECTED, SERVED, PERF_ANALYZER),
    "docs/engine.md": (STEP_BATCHER,),
    "docs/gpu.md": (GPU_MEMORY,),
    "README.md": (STARTUP,),
}
"""Sections by page."""


def write_sections(results: Path, root: Path) -> None:
    """Write every section from the CSV files.

    Args:
        results: folder of the CSV files.
        root: folder of the checkout.
    """
    for page, reports in SECTIONS.items():
        for report in reports:
            report.write(results, root / page)
            typer.echo(f"{page}: {report.section}")
