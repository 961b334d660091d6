"""Measure whole jobs on the real server: where one job's time goes, and many jobs at once.

Profiles alternate, on servers of their own that keep nothing between jobs; or a server that runs already is measured,
whose memory is out of reach. Rows are kept as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from respin.request import SAMPLERS
from respin_benchmarks.circumstances import record_circumstances
from respin_benchmarks.embedded import SERVED_HERE
from respin_benchmarks.options import LoadOptions, ServedOptions, StagesOptions
from respin_benchmarks.runner import check_choices, collect, run_benchmark
from respin_benchmarks.served.measuring import measure_load, measure_stages
from respin_benchmarks.served.page import LOAD, SERVED, STAGES
from respin_benchmarks.served.rows import LoadRun, ServedRun, StagesRun
from respin_benchmarks.served.servers import MeasuredServer, measured_servers

MeasureCell = Callable[[MeasuredServer, int], ServedRun]
"""Measures a server in one cell, given the number of the repeat."""


def run_stages(options: StagesOptions) -> None:
    """Measure where one job's time goes."""
    _run(options, STAGES, StagesRun, [measure_stages])


def run_load(options: LoadOptions) -> None:
    """Measure many jobs at once, from little to much: memory that was taken once is not given back."""
    cells = [partial(measure_load, concurrency=each, jobs=options.jobs) for each in sorted(options.concurrency)]
    _run(options, LOAD, LoadRun, cells)


def _run(options: ServedOptions, file: str, kind: type[ServedRun], cells: Sequence[MeasureCell]) -> None:
    """Measure every cell on every server once, neighbours in time, then all again; and write the report."""
    check_choices("sampler", [options.sampler], SAMPLERS)
    check_choices("profile", options.profile, SERVED_HERE)

    def measure_all() -> None:
        path = options.results / file
        with (
            measured_servers(options) as servers,
            record_circumstances(path.stem.replace("_", ": "), [path], anew=True),
        ):
            runs = (cell(server, repeat) for repeat in range(options.repeats) for cell in cells for server in servers)
            collect(path, kind, runs, options.repeats * len(cells) * len(servers))

    run_benchmark(SERVED, measure_all, options)
