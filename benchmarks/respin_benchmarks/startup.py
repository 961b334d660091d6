"""How fast the embedded server starts, what it weighs, and how long one job takes on it.

    python -m respin_benchmarks.startup [--runs 5] [--output benchmarks/results/startup.csv]

Each run starts a server of its own on the mini set, asks for one job twice, and stops it; profiles alternate. Memory is
the sum over all processes of the server after the jobs: PSS counts shared pages once.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from respin.bundled import bundled
from respin.profiles import PROFILES
from respin.request import RotationRequest
from respin_client import Client
from respin_ensemble.server.assemble import assemble
from respin_ensemble.server.launcher import EmbeddedTriton, ServerOptions

SERVED_HERE = ("cpu", "local")
CUP = (165.0, 12.0, 428.0, 312.0)
MIB = 2**20


@dataclass(frozen=True)
class Run:
    """One start of one server."""

    profile: str
    ready_s: float
    rss_mib: float
    pss_mib: float
    processes: int
    first_job_s: float
    second_job_s: float
    cpu: str
    cores: int
    date: str


def measured(profile: str) -> Run:
    """Start a server, ask twice, and stop it."""
    photo = (bundled("examples") / "coffee.png").read_bytes()
    request = RotationRequest(photo, "coffee cup", azimuth=(40.0,), polar=(-10.0,), box=CUP)
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        assemble(bundled("model_repository"), bundled("models/mini"), PROFILES[profile], repository)
        options = ServerOptions(repository, profile, grpc_port=0, http_port=0, metrics_port=0)
        with EmbeddedTriton(options) as server, Client(str(server.endpoints["gRPC"])) as client:
            jobs_s = [_seconds_of(client, request) for _ in range(2)]
            weights = [process.memory_full_info() for process in _processes(server.pid)]
            return Run(
                profile=profile,
                ready_s=round(server.ready_s, 2),
                rss_mib=round(sum(weight.rss for weight in weights) / MIB),
                pss_mib=round(sum(weight.pss for weight in weights) / MIB),
                processes=len(weights),
                first_job_s=round(jobs_s[0], 2),
                second_job_s=round(jobs_s[1], 2),
                cpu=_cpu(),
                cores=len(os.sched_getaffinity(0)),
                date=time.strftime("%Y-%m-%d"),
            )


def _seconds_of(client: Client, request: RotationRequest) -> float:
    start_s = time.perf_counter()
    client.rotate_object(request)
    return time.perf_counter() - start_s


def _processes(pid: int) -> Iterator[psutil.Process]:
    server = psutil.Process(pid)
    yield server
    yield from server.children(recursive=True)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table_of(runs: list[Run]) -> Table:
    """Medians of each profile."""
    table = Table("profile", "ready, s", "RSS, MiB", "PSS, MiB", "processes", "first job, s", "second job, s")
    for profile in SERVED_HERE:
        rows = [asdict(run) for run in runs if run.profile == profile]
        names = ("ready_s", "rss_mib", "pss_mib", "processes", "first_job_s", "second_job_s")
        table.add_row(profile, *(f"{statistics.median(row[name] for row in rows):g}" for name in names))
    return table


def main() -> None:
    """Measure, write every run, print the medians."""
    parser = argparse.ArgumentParser(prog="python -m respin_benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="starts of each profile (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/startup.csv"))
    options = parser.parse_args()
    turns = [profile for _ in range(options.runs) for profile in SERVED_HERE]
    runs = [measured(profile) for profile in track(turns, description="starting servers")]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Run)])
        writer.writeheader()
        writer.writerows(map(asdict, runs))
    Console().print(table_of(runs))


if __name__ == "__main__":
    main()
