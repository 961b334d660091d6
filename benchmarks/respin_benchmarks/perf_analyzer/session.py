"""Measure every job and every network with NVIDIA's perf_analyzer, on an embedded server or on one that runs.

The input files are written from a photo and the contracts; those of the jobs are in examples/perf, for other uses of
perf_analyzer and Model Analyzer.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from respin.bundled import bundled
from respin.contracts import JOBS, NETWORKS
from respin.model_set import ModelSet
from respin.report.circumstances import Circumstances
from respin.report.markdown import table
from respin.report.rows import read_rows
from respin.report.statistics import number_text
from respin_benchmarks.circumstances import SERVER_PACKAGES, recorded
from respin_benchmarks.embedded import SERVED_HERE, embedded
from respin_benchmarks.options import PerfOptions
from respin_benchmarks.perf_analyzer.inputs import job_input, network_input, write_input
from respin_benchmarks.perf_analyzer.runs import PerfLoad, PerfRun, PerfServer, find_program, measure_perf
from respin_benchmarks.runner import PageReport, check_choices, collect, run_benchmark

FILE = "perf_analyzer.csv"
STREAM, UNARY = "rotate_object_stream", ("rotate_object", "segment_object")
TITLES = (
    *("model", "gRPC", "load", "shared memory", "requests/s", "messages/s", "p50, ms", "p95", "p99", "queue, ms"),
    *("compute", "rest"),
)


def loads_of(options: PerfOptions) -> list[PerfLoad]:
    """Return everything that is measured; networks with ten times as many requests as jobs."""
    requests = options.requests
    made = [PerfLoad(job, concurrency=count, requests=requests) for job in UNARY for count in (1, 4)]
    made += [PerfLoad(STREAM, "stream", count, requests=requests) for count in (1, 4)]
    made += [PerfLoad("rotate_object", concurrency=0, request_rate=options.request_rate, requests=requests)]
    made += [PerfLoad(job, shared_memory="system", requests=requests) for job in UNARY]
    if not options.no_networks:
        made += [
            PerfLoad(name, shared_memory=memory, requests=10 * requests)
            for name in NETWORKS
            for memory in ("none", "system")
        ]
    return [load for load in made if not options.only or load.model in options.only]


@contextmanager
def _server(options: PerfOptions) -> Iterator[PerfServer]:
    """The server that is measured."""
    if options.url:
        key = options.admin_key_file.read_text().strip() if options.admin_key_file else None
        yield PerfServer(options.url, key)
        return
    key = secrets.token_hex()
    with embedded(options.profile, models=options.models, admin_key=key) as server:
        yield PerfServer(str(server.endpoints["gRPC"]), key)


def measure_all(program: Path, loads: Sequence[PerfLoad], options: PerfOptions) -> Iterator[PerfRun]:
    """Run perf_analyzer once for each load."""
    here, models = Circumstances.now(SERVER_PACKAGES), options.models or bundled("models/mini")
    sizes = ModelSet.load(models).sizes
    with tempfile.TemporaryDirectory() as name, _server(options) as server:
        folder = Path(name)
        for load in loads:
            batched = load.model in NETWORKS
            made = network_input(load.model, sizes) if batched else job_input(load.model, steps=options.steps)
            figures = measure_perf(
                program,
                load,
                server=server,
                batched=batched,
                data=write_input(made, folder / f"{load.model}.json"),
                folder=folder,
                timeout_s=options.timeout_s,
            )
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
        program, loads, file = find_program(options.program), loads_of(options), options.results / FILE
        with recorded("perf_analyzer", [file], anew=True):
            collect(file, PerfRun, measure_all(program, loads, options), len(loads))

    run_benchmark(PERF_ANALYZER, measure, options)


def text_of(results: Path) -> str:
    """Return the section from the folder of results."""
    return page_of(read_rows(results / FILE, PerfRun))


def page_of(runs: Sequence[PerfRun]) -> str:
    """Return the section.

    Args:
        runs: at least one.
    """
    first = runs[0]
    lines = [
        f"{first.machine}, {first.date}, profile `{first.profile}`, set `{first.weights}`, commit {first.commit}, "
        f"{first.versions}. perf_analyzer shares these cores.",
        "",
        *table(TITLES, map(_row, runs)),
    ]
    return "\n".join(lines) + "\n"


def _row(run: PerfRun) -> list[str]:
    load = f"{run.concurrency} at once" if run.concurrency else f"{run.request_rate:g}/s"
    times = (run.p50_ms, run.p95_ms, run.p99_ms, run.queue_ms, run.compute_ms, run.network_ms)
    rates = (f"{run.requests_s:.4g}", f"{run.responses_s:.4g}")
    return [f"`{run.model}`", run.protocol, load, run.shared_memory, *rates, *(number_text(t, ".4g") for t in times)]


PERF_ANALYZER = PageReport("perf_analyzer", text_of)
