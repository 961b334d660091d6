"""Measure the step batcher and many views, and write the report on both."""

from __future__ import annotations

from respin_benchmarks.circumstances import record_circumstances
from respin_benchmarks.options import BatcherOptions
from respin_benchmarks.runner import collect, run_benchmark
from respin_benchmarks.step_batcher.page import STEP_BATCHER, STEPPING, VIEWS
from respin_benchmarks.step_batcher.rows import VIEW_WAYS, ManyViewsRun, SteppingRun
from respin_benchmarks.step_batcher.server import batcher_server
from respin_benchmarks.step_batcher.stepping import measure_stepping, stepping_cells
from respin_benchmarks.step_batcher.views import measure_many_views


def run(options: BatcherOptions) -> None:
    """Measure both, then write the report."""
    steps, repeats = options.steps, options.repeats
    stepping, views = options.results / STEPPING, options.results / VIEWS

    def measure() -> None:
        with batcher_server() as server:
            with record_circumstances("step batcher: stepping", [stepping], anew=True):
                runs = measure_stepping(server, repeats=repeats, steps=steps)
                collect(stepping, SteppingRun, runs, len(stepping_cells()) * repeats)
            with record_circumstances("step batcher: views", [views], anew=True):
                bursts = measure_many_views(server, repeats=repeats, steps=steps)
                collect(views, ManyViewsRun, bursts, len(VIEW_WAYS) * repeats)

    run_benchmark(STEP_BATCHER, measure, options)
