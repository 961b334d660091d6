"""perf_analyzer's runs on a server, and its CSV file as rows."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from respin.errors import InvalidInput
from respin.report.circumstances import Circumstances
from respin.report.rows import read_records

UNSTABLE_PERCENT = 50
"""How far windows may differ before perf_analyzer measures on: a job takes seconds, and there are few of them."""

TIMEOUT_S = 600.0
"""Timeout of one run, seconds."""


@dataclass(frozen=True)
class PerfLoad:
    """How requests are sent."""

    model: str  # that they are sent to
    protocol: str = "unary"  # "unary", or "stream" for the engine
    concurrency: int = 1  # requests at the same time
    requests: int = 10  # in each window that is measured

    def arguments(self, *, url: str, batched: bool, data: Path, report: Path) -> list[str]:
        """Return the arguments of perf_analyzer.

        Args:
            url: HOST:PORT of the server's gRPC.
            batched: whether the model has a batch axis.
            data: input file.
            report: CSV file to write.
        """
        made = ["-m", self.model, "-u", url, "-i", "grpc", "--input-data", str(data), "-f", str(report)]
        made += ["-b", "1"] if batched else []
        made += ["--streaming", "--async"] if self.protocol == "stream" else []
        window = ["--measurement-mode", "count_windows", "--measurement-request-count", str(self.requests)]
        return [
            *made,
            "--concurrency-range",
            str(self.concurrency),
            *window,
            "-s",
            str(UNSTABLE_PERCENT),
            "--verbose-csv",
        ]


@dataclass(frozen=True, kw_only=True)
class PerfRun(Circumstances, PerfLoad):
    """What perf_analyzer measured, times in ms."""

    requests_s: float  # answered per second
    p50_ms: float  # of the latency
    p95_ms: float  # of the latency
    p99_ms: float  # of the latency
    queue_ms: float  # in the server's queue, mean
    compute_ms: float  # in the model, mean: input, inference and output
    network_ms: float  # the rest: gRPC, and what is between
    profile: str  # of the server
    weights: str  # which set


def find_program() -> Path:
    """Return the path of perf_analyzer, which is that of the PATH.

    Raises:
        InvalidInput: there is none.
    """
    found = shutil.which("perf_analyzer")
    if found is None:
        raise InvalidInput(
            "there is no perf_analyzer on the PATH; pip install perf-analyzer (glibc 2.38 or newer; docs/benchmarks.md "
            "says what to do with an older one)"
        )
    return Path(found)


def run_program(program: Path, arguments: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
    """Run perf_analyzer.

    Raises:
        InvalidInput: it failed, with the end of its output; or took longer than `timeout_s`.
    """
    try:
        ended = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise InvalidInput(f"perf_analyzer was not done after {timeout_s:g} s; measure fewer requests") from error
    if ended.returncode:
        words = " ".join((ended.stderr or ended.stdout).split())[-600:]
        raise InvalidInput(f"perf_analyzer exited with status {ended.returncode}: {words}")


def measure_perf(program: Path, load: PerfLoad, *, url: str, batched: bool, data: Path) -> dict[str, Any]:
    """Run perf_analyzer once; return its figures by the names of `PerfRun`.

    Raises:
        InvalidInput: it refused, or wrote no figures.
    """
    report = data.with_suffix(".csv")
    report.unlink(missing_ok=True)
    run_program(program, load.arguments(url=url, batched=batched, data=data, report=report))
    for row in read_records(report):
        return figures_of(row)
    raise InvalidInput(f"perf_analyzer wrote no figures of {load.model}: no window settled; measure more requests")


def figures_of(row: Mapping[str, str]) -> dict[str, float]:
    """Return the figures of one line of perf_analyzer's CSV file, which has microseconds, in ms."""
    figures = {
        "requests_s": float(row["Inferences/Second"]),
        **{f"p{share}_ms": float(row[f"p{share} latency"]) / 1e3 for share in (50, 95, 99)},
        "queue_ms": _sum_ms(row, ["Server Queue"]),
        "compute_ms": _sum_ms(row, [f"Server Compute {part}" for part in ("Input", "Infer", "Output")]),
        "network_ms": _sum_ms(row, ["Client Send", "Network+Server Send/Recv", "Client Recv"]),
    }
    return {name: round(value, 3) for name, value in figures.items()}


def _sum_ms(row: Mapping[str, str], columns: Sequence[str]) -> float:
    """Return NaN if a column is missing: of a decoupled model the server reports none of these."""
    values = [row.get(column) for column in columns]
    return math.nan if None in values or "" in values else sum(float(value or 0) for value in values) / 1e3
