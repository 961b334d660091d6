"""Measure the step batcher and many views, and write the report on both."""

from __future__ import annotations

from pathlib import Path

from respin.report.rows import read_rows
from respin_benchmarks.circumstances import recorded
from respin_benchmarks.options import BatcherOptions
from respin_benchmarks.runner import PageReport, check_choices, collect, run_benchmark
from respin_benchmarks.step_batcher.cells import CACHES, VIEW_WAYS
from respin_benchmarks.step_batcher.page import IMAGES, page_of
from respin_benchmarks.step_batcher.rows import ManyViewsRun, SteppingRun

STEPPING, VIEWS = "step_batcher.csv", "many_views.csv"


def run(options: BatcherOptions) -> None:
    """Measure what is asked for, then write the report from both files."""
    check_choices("measure", options.measure, ("stepping", "views"))

    def measure() -> None:
        if "stepping" in options.measure:
            _measure_stepping(options)
        if "views" in options.measure:
            _measure_views(options)

    run_benchmark(STEP_BATCHER, measure, options)


def _measure_stepping(options: BatcherOptions) -> None:
    from respin_benchmarks.step_batcher import stepping  # noqa: PLC0415 (starts servers; the report does not)

    file, cells = options.results / STEPPING, [*stepping.comparison_cells(), *stepping.payload_cells()]
    with recorded("step batcher: stepping", [file], anew=True), stepping.stepping_server() as server:
        runs = stepping.measure_stepping(server, cells, repeats=options.repeats, steps=options.steps)
        collect(file, SteppingRun, runs, len(cells) * options.repeats)


def _measure_views(options: BatcherOptions) -> None:
    from respin_benchmarks.step_batcher import views  # noqa: PLC0415 (as above)

    file = options.results / VIEWS
    with recorded("step batcher: views", [file], anew=True):
        runs = views.measure_many_views(repeats=options.repeats, steps=options.steps)
        collect(file, ManyViewsRun, runs, len(VIEW_WAYS) * len(CACHES) * options.repeats)


def text_of(results: Path) -> str:
    """Return the section."""
    return page_of(read_rows(results / STEPPING, SteppingRun), read_rows(results / VIEWS, ManyViewsRun))


def draw(results: Path, images: Path) -> None:
    """Draw the pictures."""
    from respin_benchmarks.step_batcher.plots import draw_latency, draw_ratio  # noqa: PLC0415 (matplotlib)

    runs = read_rows(results / STEPPING, SteppingRun)
    draw_latency(runs, images / IMAGES["latency"])
    draw_ratio(runs, images / IMAGES["ratio"])


STEP_BATCHER = PageReport("step_batcher", text_of, draw)
