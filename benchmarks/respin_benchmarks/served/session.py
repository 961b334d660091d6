"""Measure whole jobs on the real server: where one job's time goes, many jobs at once, many views in one request.

Profiles alternate, on servers of their own that keep nothing between jobs; or a server that runs already is measured,
whose memory is out of reach. Rows are kept as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from respin.request import SAMPLERS
from respin_benchmarks.circumstances import record_circumstances
from respin_benchmarks.embedded import SERVED_HERE
from respin_benchmarks.options import LoadOptions, ServedOptions, SpinOptions, StagesOptions
from respin_benchmarks.runner import check_choices, collect, run_benchmark
from respin_benchmarks.served.measuring import measure_load, measure_spin, measure_stages
from respin_benchmarks.served.page import LOAD, SERVED, SPIN, STAGES
from respin_benchmarks.served.rows import LoadRun, ServedRun, SpinRun, StagesRun
from respin_benchmarks.served.servers import MeasuredServer, measured_servers

MeasureCell = Callable[[MeasuredServer, int, int], ServedRun]
"""Measures a server in one cell, given its number of jobs or views and that of the repeat."""


def run_stages(options: StagesOptions) -> None:
    """Measure where one job's time goes."""
    _run(options, STAGES, StagesRun, measure_stages, [1])


def run_load(options: LoadOptions) -> None:
    """Measure many jobs at once, from little to much: memory that was taken once is not given back."""
    _run(options, LOAD, LoadRun, partial(measure_load, jobs=options.jobs), sorted(options.concurrency))


def run_spin(options: SpinOptions) -> None:
    """Measure many views in one request."""
    _run(options, SPIN, SpinRun, measure_spin, options.views)


def _run(options: ServedOptions, file: str, kind: type[ServedRun], measure: MeasureCell, cells: Sequence[int]) -> None:
    """Measure every cell on every server once, neighbours in time, then all again; and write the report."""
    check_choices("sampler", [options.sampler], SAMPLERS)
    check_choices("profile", options.profile, SERVED_HERE)

    def measure_all() -> None:
        path = options.results / file
        with (
            measured_servers(options) as servers,
            record_circumstances(path.stem.replace("_", ": "), [path], anew=True),
        ):
            turns = [
                (server, cell, repeat) for repeat in range(options.repeats) for cell in cells for server in servers
            ]
            collect(path, kind, (measure(*turn) for turn in turns), len(turns))

    run_benchmark(SERVED, measure_all, options)
