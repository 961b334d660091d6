"""How fast the embedded server starts, what it weighs, and how long one job takes on it.

Each run starts a server of its own on the mini set, asks for one job twice, and stops it; profiles alternate. Memory is
the sum over all processes of the server after the jobs: PSS counts shared pages once.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from respin.bundled import bundled
from respin.limits import DEFAULT_LIMITS
from respin.report.circumstances import cpu_name
from respin.report.rows import write_rows
from respin.request import RotationRequest
from respin_benchmarks.circumstances import noted
from respin_benchmarks.embedded import SERVED_HERE, Processes, embedded
from respin_client import Client

CUP = (165.0, 12.0, 428.0, 312.0)
BEGIN, END = "<!-- startup: begin -->", "<!-- startup: end -->"
COLUMNS = {
    "ready_s": "ready, s",
    "rss_mib": "RSS, MiB",
    "pss_mib": "PSS, MiB",
    "processes": "processes",
    "first_job_s": "first job, s",
    "second_job_s": "second job, s",
}


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
    with embedded(profile, limits=DEFAULT_LIMITS) as server, Client(str(server.endpoints["gRPC"])) as client:
        jobs_s = [_seconds_of(client, request) for _ in range(2)]
        processes = Processes(server.pid)
        weight = processes.weight()
        return Run(
            profile=profile,
            ready_s=round(server.ready_s, 2),
            rss_mib=round(weight.rss),
            pss_mib=round(weight.pss),
            processes=len(processes),
            first_job_s=round(jobs_s[0], 2),
            second_job_s=round(jobs_s[1], 2),
            cpu=cpu_name(),
            cores=len(os.sched_getaffinity(0)),
            date=time.strftime("%Y-%m-%d"),
        )


def _seconds_of(client: Client, request: RotationRequest) -> float:
    start_s = time.perf_counter()
    client.rotate_object(request)
    return time.perf_counter() - start_s


def markdown_of(rows: list[dict[str, str]]) -> str:
    """The table that the README shows: medians of each profile.

    Args:
        rows: of the CSV file.
    """
    where = f"{rows[0]['cores']} cores of {rows[0]['cpu']}, {rows[0]['date']}"
    lines = [
        f"Medians of {len(rows) // len(SERVED_HERE)} starts of each profile, {where}:",
        "",
        f"| profile | {' | '.join(COLUMNS.values())} |",
        f"|---|{'---|' * len(COLUMNS)}",
    ]
    for profile in SERVED_HERE:
        mine = [row for row in rows if row["profile"] == profile]
        medians = (statistics.median(float(row[name]) for row in mine) for name in COLUMNS)
        lines.append(f"| `{profile}` | {' | '.join(f'{median:g}' for median in medians)} |")
    return "\n".join(lines) + "\n"


def with_table(page: str, table: str) -> str:
    """A page with the table between its two marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table}{END}{rest.split(END)[1]}"


def main(arguments: list[str] | None = None) -> None:
    """Measure, write every run and the medians."""
    parser = argparse.ArgumentParser(
        prog="python -m respin_benchmarks.startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=5, help="starts of each profile (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/startup.csv"))
    parser.add_argument("--page", type=Path, default=Path("README.md"), help="its table is replaced")
    options = parser.parse_args(arguments)
    turns = [profile for _ in range(options.runs) for profile in SERVED_HERE]
    with noted("startup", [options.output], anew=True):
        write_rows(options.output, Run, [measured(profile) for profile in track(turns, description="starting servers")])
    table = markdown_of(rows_of(options.output))
    options.page.write_text(with_table(options.page.read_text(), table))
    print(table)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Every run in a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
