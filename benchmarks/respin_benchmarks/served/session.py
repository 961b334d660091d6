"""Measure whole jobs on the real server: where one job's time goes, many jobs at once, many views in one request.

Profiles alternate, on servers of their own that keep nothing between jobs; or a server that runs already is measured,
whose memory is out of reach. Rows are kept as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from respin.request import SAMPLERS
from respin_benchmarks.circumstances import recorded
from respin_benchmarks.embedded import SERVED_HERE
from respin_benchmarks.options import LoadOptions, ServedOptions, SpinOptions, StagesOptions
from respin_benchmarks.runner import Budget, check_choices, collect, run_benchmark
from respin_benchmarks.served.load import load_cells, measure_load
from respin_benchmarks.served.report import LOAD, SERVED, SPIN, STAGES
from respin_benchmarks.served.rows import LoadRun, SpinRun, StagesRun
from respin_benchmarks.served.servers import JobRequests, MeasuredServer, embedded_servers, running_server
from respin_benchmarks.served.single import measure_spins, measure_stages

Measure = Callable[[Sequence[MeasuredServer], Budget], object]


def run_stages(options: StagesOptions) -> None:
    """Measure where one job's time goes."""

    def measure(servers: Sequence[MeasuredServer], budget: Budget) -> None:
        rows = measure_stages(servers, options.jobs, budget.is_over)
        collect(options.results / STAGES, StagesRun, rows, options.jobs * len(servers))

    _run(options, "stages", STAGES, measure)


def run_load(options: LoadOptions) -> None:
    """Measure many jobs at once."""

    def measure(servers: Sequence[MeasuredServer], budget: Budget) -> None:
        rows = measure_load(servers, options, budget.is_over)
        total = options.repeats * len(load_cells(options)) * len(servers)
        collect(options.results / LOAD, LoadRun, rows, total)

    _run(options, "load", LOAD, measure)


def run_spin(options: SpinOptions) -> None:
    """Measure many views in one request."""

    def measure(servers: Sequence[MeasuredServer], budget: Budget) -> None:
        rows = measure_spins(servers, options.views, options.repeats, budget.is_over)
        collect(options.results / SPIN, SpinRun, rows, options.repeats * len(options.views) * len(servers))

    _run(options, "spin", SPIN, measure)


def _run(options: ServedOptions, name: str, file: str, measure: Measure) -> None:
    check_choices("sampler", [options.sampler], SAMPLERS)
    check_choices("profile", options.profile, SERVED_HERE)

    def measure_all() -> None:
        with _servers(options) as servers, recorded(f"served: {name}", [options.results / file], anew=True):
            measure(servers, Budget(options.budget_s))

    run_benchmark(SERVED, measure_all, options)


@contextmanager
def _servers(options: ServedOptions) -> Iterator[list[MeasuredServer]]:
    requests = JobRequests(steps=options.steps, background_steps=options.background_steps, sampler=options.sampler)
    with (
        running_server(options.url, options.metrics_url, requests)
        if options.url
        else embedded_servers(options.profile, requests)
    ) as servers:
        yield servers
