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
from respin_server.control import ADMIN_HEADER

OUTPUT_SHARED_MEMORY_BYTES = 8 * 2**20
"""Room for each output in shared memory: a picture's file, or a network's largest tensor on the mini set."""

UNSTABLE_PERCENT = 50
"""How far windows may differ before perf_analyzer measures on: a job takes seconds, and there are few of them."""

TIMEOUT_S = 600.0
"""Of one run."""


@dataclass(frozen=True)
class PerfServer:
    """The server that requests are sent to."""

    url: str  # HOST:PORT of its gRPC
    admin_key: str | None = None  # opens shared memory; None = it needs none


@dataclass(frozen=True)
class PerfLoad:
    """How requests are sent."""

    model: str  # that they are sent to
    protocol: str = "unary"  # "unary", or "stream" for the engine
    concurrency: int = 1  # requests at the same time
    shared_memory: str = "none"  # "none" or "system"
    requests: int = 10  # in each window that is measured

    def arguments(self, *, server: PerfServer, batched: bool, data: Path, report: Path) -> list[str]:
        """Return the arguments of perf_analyzer.

        Args:
            server: that they are sent to.
            batched: whether the model has a batch axis.
            data: input file.
            report: CSV file to write.
        """
        made = ["-m", self.model, "-u", server.url, "-i", "grpc", "--input-data", str(data), "-f", str(report)]
        if self.shared_memory == "system" and server.admin_key:
            made += ["-H", f"triton-grpc-protocol-{ADMIN_HEADER}:{server.admin_key}"]
        made += ["-b", "1"] if batched else []
        made += ["--streaming", "--async"] if self.protocol == "stream" else []
        made += ["--concurrency-range", str(self.concurrency)]
        if self.shared_memory == "system":
            made += ["--shared-memory", "system", "--output-shared-memory-size", str(OUTPUT_SHARED_MEMORY_BYTES)]
        window = ["--measurement-mode", "count_windows", "--measurement-request-count", str(self.requests)]
        return [*made, *window, "-s", str(UNSTABLE_PERCENT), "--verbose-csv"]


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


def find_program(program: Path | None) -> Path:
    """Return the path of perf_analyzer, by default that of the PATH.

    Raises:
        InvalidInput: there is none.
    """
    found = program or (Path(path) if (path := shutil.which("perf_analyzer")) else None)
    if found is None or not found.is_file():
        raise InvalidInput(
            f"there is no {program or 'perf_analyzer on the PATH'}; pip install perf-analyzer (glibc 2.38 or newer; "
            "docs/benchmarks.md says what to do with an older one), or name the file with --program"
        )
    return found


def run_program(program: Path, arguments: Sequence[str], timeout_s: float = TIMEOUT_S) -> str:
    """Run perf_analyzer, and return what it printed.

    Raises:
        InvalidInput: it refused, with its own last words; or took longer than `timeout_s`.
    """
    try:
        ended = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise InvalidInput(f"perf_analyzer was not done after {timeout_s:g} s; measure fewer requests") from error
    if ended.returncode:
        words = " ".join((ended.stderr or ended.stdout).split())[-600:]
        raise InvalidInput(f"perf_analyzer exited with status {ended.returncode}: {words}")
    return ended.stdout


def measure_perf(program: Path, load: PerfLoad, *, server: PerfServer, batched: bool, data: Path) -> dict[str, Any]:
    """Run perf_analyzer once; return its figures by the names of `PerfRun`.

    Raises:
        InvalidInput: it refused, or wrote no figures.
    """
    report = data.with_suffix(".csv")
    report.unlink(missing_ok=True)
    run_program(program, load.arguments(server=server, batched=batched, data=data, report=report))
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
