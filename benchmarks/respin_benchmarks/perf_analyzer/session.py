"""Measure every job and every network with NVIDIA's perf_analyzer, on an embedded server or on one that runs.

The input files are written from a photo and the contracts; those of the jobs are in examples/perf, for other uses of
perf_analyzer and Model Analyzer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from respin.bundled import bundled_path
from respin.contracts import JOBS, NETWORKS
from respin.model_set import ModelSet
from respin.report.circumstances import Circumstances
from respin.report.rows import read_rows
from respin_benchmarks.circumstances import SERVER_PACKAGES, record_circumstances
from respin_benchmarks.embedded import SERVED_HERE, embedded_server
from respin_benchmarks.options import PerfOptions
from respin_benchmarks.perf_analyzer.inputs import job_input, network_input, write_input
from respin_benchmarks.perf_analyzer.runs import PerfLoad, PerfRun, find_program, measure_perf
from respin_benchmarks.runner import PageReport, check_choices, collect, run_benchmark
from respin_benchmarks.tables import cell_table, where_text

FILE = "perf_analyzer.csv"
STREAM, UNARY = "rotate_object_stream", ("rotate_object", "segment_object")
COLUMNS = {
    "model": "`{model}`",
    "gRPC": "{protocol}",
    "at once": "{concurrency:g}",
    "requests/s": "{requests_s:.4g}",
    "p50, ms": "{p50_ms:.4g}",
    "p95": "{p95_ms:.4g}",
    "p99": "{p99_ms:.4g}",
    "queue, ms": "{queue_ms:.4g}",
    "compute": "{compute_ms:.4g}",
    "rest": "{network_ms:.4g}",
}


def loads_of(options: PerfOptions) -> list[PerfLoad]:
    """Return everything that is measured; networks with ten times as many requests as jobs."""
    few, many = options.requests, 10 * options.requests
    made = [PerfLoad(job, concurrency=count, requests=few) for job in UNARY for count in (1, 4)]
    made += [PerfLoad(STREAM, "stream", count, few) for count in (1, 4)]
    made += [PerfLoad(name, requests=many) for name in NETWORKS]
    return [load for load in made if not options.only or load.model in options.only]


@contextmanager
def _served_url(options: PerfOptions) -> Iterator[str]:
    """Yield the gRPC address of the server that is measured."""
    if options.url:
        yield options.url
        return
    with embedded_server(options.profile, models=options.models) as server:
        yield str(server.endpoints["gRPC"])


def measure_all(program: Path, loads: Sequence[PerfLoad], options: PerfOptions) -> Iterator[PerfRun]:
    """Run perf_analyzer once for each load."""
    here, models = Circumstances.now(SERVER_PACKAGES), options.models or bundled_path("models/mini")
    sizes = ModelSet.load(models).sizes
    with tempfile.TemporaryDirectory() as folder, _served_url(options) as url:
        for load in loads:
            batched, data = load.model in NETWORKS, Path(folder) / f"{load.model}.json"
            write_input(network_input(load.model, sizes) if batched else job_input(load.model), data)
            figures = measure_perf(program, load, url=url, batched=batched, data=data)
            yield PerfRun(**vars(here), **asdict(load), **figures, profile=options.profile, weights=models.name)


def run(options: PerfOptions) -> None:
    """Measure, and write the report; or write the jobs' input files, no more."""
    check_choices("profile", [options.profile], SERVED_HERE)
    check_choices("only", options.only, [*JOBS, *NETWORKS])
    if options.write_inputs:
        for job in JOBS:
            write_input(job_input(job), options.write_inputs / f"{job}.json")
        return

    def measure() -> None:
        program, loads, file = find_program(), loads_of(options), options.results / FILE
        with record_circumstances("perf_analyzer", [file], anew=True):
            collect(file, PerfRun, measure_all(program, loads, options), len(loads))

    run_benchmark(PERF_ANALYZER, measure, options)


def text_of(results: Path) -> str:
    """Return the section from the folder of results."""
    runs = read_rows(results / FILE, PerfRun)
    where = where_text(runs, f"profile `{runs[0].profile}`, set `{runs[0].weights}`")
    lines = [f"{where}. perf_analyzer shares these cores.", "", *cell_table(COLUMNS, ([run] for run in runs))]
    return "\n".join(lines) + "\n"


PERF_ANALYZER = PageReport("perf_analyzer", text_of)
