"""How fast the embedded server starts, what it takes, and how long one job takes on it.

Each run starts a server of its own on the mini set, asks for one job twice, and stops it; profiles alternate. Memory is
the sum over all processes of the server after the jobs: PSS counts shared pages once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from respin.bundled import bundled_path
from respin.limits import DEFAULT_LIMITS
from respin.report.circumstances import Circumstances
from respin.report.rows import read_rows
from respin.request import RotationRequest
from respin_benchmarks.circumstances import SERVER_PACKAGES, record_circumstances
from respin_benchmarks.embedded import SERVED_HERE, embedded_server, memory_of
from respin_benchmarks.options import StartupOptions
from respin_benchmarks.runner import PageReport, collect, run_benchmark
from respin_benchmarks.tables import cell_table, cells_of
from respin_client import Client

FILE = "startup.csv"
CUP = (165.0, 12.0, 428.0, 312.0)
"""The cup in examples/coffee.png, px."""
COLUMNS = {
    "profile": "`{profile}`",
    "ready, s": "{ready_s:g}",
    "RSS, MiB": "{rss_mib:g}",
    "PSS, MiB": "{pss_mib:g}",
    "processes": "{processes:g}",
    "first job, s": "{first_job_s:g}",
    "second job, s": "{second_job_s:g}",
}


@dataclass(frozen=True, kw_only=True)
class StartupRun(Circumstances):
    """One start of one server."""

    profile: str
    ready_s: float
    rss_mib: float
    pss_mib: float
    processes: int
    first_job_s: float
    second_job_s: float


def measure_startup(profile: str) -> StartupRun:
    """Start a server, ask twice, and stop it."""
    photo = (bundled_path("examples") / "coffee.png").read_bytes()
    request = RotationRequest(photo, "coffee cup", azimuth=(40.0,), polar=(-10.0,), box=CUP)
    with embedded_server(profile, limits=DEFAULT_LIMITS) as server, Client(str(server.endpoints["gRPC"])) as client:
        times_s = [time.perf_counter()]
        for _ in range(2):
            client.rotate_object(request)
            times_s.append(time.perf_counter())
        memory = memory_of(server.pid)
        return StartupRun(
            **vars(Circumstances.now(SERVER_PACKAGES)),
            profile=profile,
            ready_s=round(server.ready_s, 2),
            rss_mib=round(memory.rss),
            pss_mib=round(memory.pss),
            processes=memory.processes,
            first_job_s=round(times_s[1] - times_s[0], 2),
            second_job_s=round(times_s[2] - times_s[1], 2),
        )


def text_of(results: Path) -> str:
    """Return the table of the README: medians of each profile."""
    runs = read_rows(results / FILE, StartupRun)
    lines = [
        f"Medians of {len(runs) // len(SERVED_HERE)} starts of each profile, {runs[0].machine}, {runs[0].date}:",
        "",
        *cell_table(COLUMNS, cells_of(runs, "profile")),
    ]
    return "\n".join(lines) + "\n"


STARTUP = PageReport("startup", text_of)


def run(options: StartupOptions) -> None:
    """Measure every start, and write the report."""

    def measure() -> None:
        turns = [profile for _ in range(options.runs) for profile in SERVED_HERE]
        with record_circumstances("startup", [options.results / FILE], anew=True):
            collect(options.results / FILE, StartupRun, map(measure_startup, turns), len(turns))

    run_benchmark(STARTUP, measure, options)
