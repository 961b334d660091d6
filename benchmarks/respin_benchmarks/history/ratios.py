"""Which results are ratios of what was measured side by side, and what they come to."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from respin_benchmarks.circumstances import machine_of

Row = Mapping[str, str]


@dataclass(frozen=True)
class Benchmark:
    """A ratio of two columns, or of one in two kinds of rows that were measured in turn.

    Args:
        what: in words, the upper one first.
        file: of the rows.
        upper: column of the upper figure.
        lower: column of the lower one.
        over: columns and values of the rows with the upper figure; none = every row has both.
        under: the same of the lower one.
    """

    what: str
    file: str
    upper: str
    lower: str
    over: Row = field(default_factory=dict)
    under: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """What one benchmark came to at one commit.

    Args:
        what: as of the benchmark.
        median: of the repeats.
        least: of them.
        greatest: of them.
        repeats: how many there are.
        commit: of the code that was measured.
        date: of the measurement; then the machine.
    """

    what: str
    median: float
    least: float
    greatest: float
    repeats: int
    commit: str
    date: str
    machine: str


def _jobs(device: str, runtime: str) -> list[Benchmark]:
    usual = {"sampler": "ddim", "jobs": "1"}
    engine = {**usual, "way": "engine", "runtime": runtime}
    files = (f"jobs_{device}.csv", "latency_s", "latency_s")
    baseline = {**usual, "way": "baseline", "views": "1"}
    return [
        Benchmark(f"the script / a job, {device}, {runtime}", *files, baseline, {**engine, "views": "1"}),
        Benchmark(f"12 views / one, {device}, {runtime}", *files, {**engine, "views": "12"}, {**engine, "views": "1"}),
    ]


def _spin(profile: str) -> Benchmark:
    many, one = ({"profile": profile, "views": views} for views in ("12", "1"))
    return Benchmark(f"12 views / one, server, {profile}", "served_spin.csv", "latency_s", "latency_s", many, one)


def _loops() -> Benchmark:
    shared = {"network": "fixed", "unet": "zero123_unet", "cost_ms": "10", "arrival": "staggered", "concurrency": "8"}
    ways = ({**shared, "way": way} for way in ("loops", "scheduler"))
    return Benchmark("loops / step scheduler, 8 requests", "step_scheduler.csv", "wall_s", "wall_s", *ways)


def _views() -> Benchmark:
    single, together = ({"way": way, "caches": "off"} for way in ("single requests, one after another", "one request"))
    return Benchmark("12 requests / one of 12 views", "many_views.csv", "wall_s", "wall_s", single, together)


BENCHMARKS = [
    *(
        benchmark
        for device, runtime in (
            ("cpu", "onnxruntime"),
            ("cuda", "torch graphs"),
            ("cuda", "torch compiled"),
            ("cuda", "onnxruntime"),
            ("cuda", "tensorrt"),
        )
        for benchmark in _jobs(device, runtime)
    ),
    _spin("cpu"),
    _spin("local"),
    Benchmark("a job through the server / in process", "overhead.csv", "server_ms", "in_process_ms"),
    _loops(),
    _views(),
]
"""In the order of the page."""


def ratios_in(file: str, rows: Sequence[Row]) -> Iterator[Ratio]:
    """The ratios that the rows of a file hold, one a commit and machine.

    Args:
        file: its name.
        rows: as they stand in it.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["commit"], row["date"], machine_of(row)), []).append(row)
    for benchmark in BENCHMARKS:
        for (commit, date, machine), group in groups.items():
            if benchmark.file == file and (found := _found(benchmark, group)):
                median, least, greatest = (
                    round(value, 4) for value in (statistics.median(found), min(found), max(found))
                )
                yield Ratio(benchmark.what, median, least, greatest, len(found), commit, date, machine)


def _found(benchmark: Benchmark, rows: Sequence[Row]) -> list[float]:
    """The ratio of each repeat that has both figures."""
    lower = {row["repeat"]: float(row[benchmark.lower]) for row in rows if _fits(row, benchmark.under)}
    return [
        float(row[benchmark.upper]) / lower[row["repeat"]]
        for row in rows
        if _fits(row, benchmark.over) and row["repeat"] in lower
    ]


def _fits(row: Row, wanted: Row) -> bool:
    return all(row.get(name) == value for name, value in wanted.items())
