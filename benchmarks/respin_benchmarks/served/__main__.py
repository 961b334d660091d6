"""Measure whole jobs on the real server, mini set: where one job's time goes, many jobs at once, many views in one.

Profiles alternate, on servers of their own that keep nothing between jobs; or a server that runs already is measured,
whose memory is out of reach. Rows are kept as they come.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.progress import track

from respin.errors import RespinError
from respin.report.markdown import check_section
from respin.report.rows import write_rows
from respin.request import SAMPLERS
from respin_benchmarks.circumstances import noted
from respin_benchmarks.counts import count
from respin_benchmarks.embedded import SERVED_HERE
from respin_benchmarks.in_process.rows import Interval
from respin_benchmarks.served.load import Loads, load_runs
from respin_benchmarks.served.page import SECTION
from respin_benchmarks.served.report import LOAD, SPIN, STAGES, job_file, text_of, write_report
from respin_benchmarks.served.rows import LoadRun, SpinRun, StagesRun
from respin_benchmarks.served.servers import Asked, Served, embedded_servers, running_server
from respin_benchmarks.served.spin import spin_runs
from respin_benchmarks.served.stages import job_of, stages_runs

FILES = {"stages": STAGES, "load": LOAD, "spin": SPIN}
"""What can be measured, by the file of its rows."""


class Session:
    """One measurement.

    Args:
        options: of the command.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._began_s = options, time.monotonic()

    def run(self) -> None:
        """Measure what is asked for.

        Raises:
            RespinError: a server did not answer, or kept what it should not.
        """
        with self._servers() as servers:
            for measure in self._options.measure:
                with noted(f"served: {measure}", [self._options.results / FILES[measure]], anew=True):
                    getattr(self, f"_{measure}")(servers)

    def _servers(self) -> AbstractContextManager[list[Served]]:
        options = self._options
        asked = Asked(steps=options.steps, background_steps=options.background_steps, sampler=options.sampler)
        if options.url:
            return running_server(options.url, options.metrics_url, asked)
        return embedded_servers(options.profiles, asked)

    def _time_is_up(self) -> bool:
        return bool(time.monotonic() - self._began_s > self._options.budget_s)

    def _kept(self, name: str, kind: type[Any], runs: Iterable[Any], total: int) -> None:
        rows = []
        for row in track(runs, total=total, description=name.removesuffix(".csv").replace("_", " ")):
            rows.append(row)
            write_rows(self._options.results / name, kind, rows)

    def _stages(self, servers: Sequence[Served]) -> None:
        jobs = self._options.jobs
        self._kept(STAGES, StagesRun, stages_runs(servers, jobs, self._time_is_up), jobs * len(servers))
        for served in servers:
            write_rows(job_file(self._options.results, served.profile), Interval, job_of(served))

    def _load(self, servers: Sequence[Served]) -> None:
        options = self._options
        loads = Loads(
            concurrencies=options.concurrency,
            rate_shares=options.rates,
            jobs_each=options.jobs_each,
            least_jobs=options.least_jobs,
            open_jobs=options.open_jobs,
            repeats=options.repeats or 2,
            seed=options.seed,
        )
        self._kept(LOAD, LoadRun, load_runs(servers, loads, self._time_is_up), loads.runs(len(servers)))

    def _spin(self, servers: Sequence[Served]) -> None:
        views, repeats = self._options.views, self._options.repeats or 4
        runs = spin_runs(servers, views, repeats, self._time_is_up)
        self._kept(SPIN, SpinRun, runs, repeats * len(views) * len(servers))


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="python -m respin_benchmarks.served",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--measure",
        nargs="*",
        choices=FILES,
        default=list(FILES),
        help="what to measure; nothing: the page is written from the files (default: all)",
    )
    made.add_argument("--profiles", nargs="+", choices=SERVED_HERE, default=list(SERVED_HERE), help="default: both")
    made.add_argument("--url", help="HOST:PORT of a running server's gRPC (default: embedded ones are started)")
    made.add_argument("--metrics-url", help="HOST:PORT of its metrics (default: the same host, port 8002)")
    made.add_argument("--steps", type=int, default=75, help="of Zero123 (default: %(default)s)")
    made.add_argument("--background-steps", type=int, default=50, help="of the inpainting (default: %(default)s)")
    made.add_argument("--sampler", choices=SAMPLERS, default="ddim", help="of both (default: %(default)s)")
    made.add_argument("--repeats", type=count, help="of load and spin, interleaved (default: 2 and 4)")
    made.add_argument("--jobs", type=count, default=25, help="stages: on each server (default: %(default)s)")
    made.add_argument("--views", type=count, nargs="+", default=[1, 2, 4, 8, 12], help="spin: default 1 2 4 8 12")
    _add_load(made)
    made.add_argument("--budget-s", type=float, default=float("inf"), help="after which no new run begins")
    made.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="folder of the CSV files")
    made.add_argument("--page", type=Path, help="its section is written again, e.g. docs/benchmarks.md")
    return made


def _add_load(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--concurrency", type=count, nargs="+", default=[1, 2, 4, 8, 16], help="load: closed loops; default 1 2 4 8 16"
    )
    made.add_argument(
        "--rates",
        type=float,
        nargs="*",
        default=[0.5, 0.8, 1.1],
        help="load: open loops, as shares of the best closed one's images/s; default 0.5 0.8 1.1",
    )
    made.add_argument("--jobs-each", type=count, default=2, help="load: of each worker (default: %(default)s)")
    made.add_argument("--least-jobs", type=count, default=8, help="load: of each closed loop (default: %(default)s)")
    made.add_argument("--open-jobs", type=count, default=12, help="load: of each open loop (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="load: of the arrivals (default: %(default)s)")


def main(arguments: list[str] | None = None) -> int:
    """Measure; 1 if something could not be."""
    options = parser().parse_args(arguments)
    try:
        if options.page:
            check_section(options.page, SECTION)
        if options.measure:
            Session(options).run()
            print(text_of(options.results))
        if options.page:
            write_report(options.results, options.page)
    except RespinError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
