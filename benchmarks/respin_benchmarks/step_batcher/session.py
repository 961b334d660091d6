"""Measure the step batcher and many views, and write the report on both."""

from __future__ import annotations

from respin_benchmarks.circumstances import recorded
from respin_benchmarks.options import BatcherOptions
from respin_benchmarks.runner import check_choices, collect, run_benchmark
from respin_benchmarks.step_batcher.page import STEP_BATCHER, STEPPING, VIEWS
from respin_benchmarks.step_batcher.repository import stepping_server
from respin_benchmarks.step_batcher.rows import CACHES, VIEW_WAYS, ManyViewsRun, SteppingRun
from respin_benchmarks.step_batcher.stepping import UNETS, measure_stepping, stepping_cells
from respin_benchmarks.step_batcher.views import measure_many_views


def run(options: BatcherOptions) -> None:
    """Measure what is asked for, then write the report from both files."""
    check_choices("measure", options.measure, ("stepping", "views"))
    steps, repeats = options.steps, options.repeats

    def measure() -> None:
        if "stepping" in options.measure:
            file = options.results / STEPPING
            with recorded("step batcher: stepping", [file], anew=True), stepping_server(UNETS) as server:
                runs = measure_stepping(server, repeats=repeats, steps=steps)
                collect(file, SteppingRun, runs, len(stepping_cells()) * repeats)
        if "views" in options.measure:
            file = options.results / VIEWS
            with recorded("step batcher: views", [file], anew=True):
                views = measure_many_views(repeats=repeats, steps=steps)
                collect(file, ManyViewsRun, views, len(VIEW_WAYS) * len(CACHES) * repeats)

    run_benchmark(STEP_BATCHER, measure, options)
