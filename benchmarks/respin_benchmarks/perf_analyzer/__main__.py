"""Measure every job and every network with NVIDIA's perf_analyzer, on an embedded server or on one that runs.

perf_analyzer is found on the PATH, or set up in a folder of its own. The input files are written from a photo and the
contracts; those of the jobs lie in examples/perf, for a perf_analyzer or a Model Analyzer of yours.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.progress import track

from respin.bundled import bundled
from respin.contracts import JOBS, NETWORKS
from respin.errors import RespinError
from respin.model_set import ModelSet
from respin.report.circumstances import Circumstances, commit_here
from respin.report.markdown import check_section, write_section
from respin.report.rows import read_rows, write_rows
from respin_benchmarks.circumstances import noted
from respin_benchmarks.embedded import embedded
from respin_benchmarks.perf_analyzer.binary import perf_analyzer
from respin_benchmarks.perf_analyzer.inputs import job_input, network_input, write_input
from respin_benchmarks.perf_analyzer.page import SECTION, page_of
from respin_benchmarks.perf_analyzer.runs import Load, PerfRun, Server, measured

STREAM, UNARY = "rotate_object_stream", ("rotate_object", "segment_object")
PACKAGES = ("nvidia-pytriton", "onnxruntime", "numpy")


def loads(*, requests: int, rate: float, networks: bool) -> list[Load]:
    """Everything that is measured.

    Args:
        requests: in each window; of networks ten times as many.
        rate: jobs a second, of the open loop.
        networks: whether the networks are measured as well.
    """
    made = [Load(job, concurrency=count, requests=requests) for job in UNARY for count in (1, 4)]
    made += [Load(STREAM, "stream", count, requests=requests) for count in (1, 4)]
    made += [Load("rotate_object", concurrency=0, request_rate=rate, requests=requests)]
    made += [Load(job, shared_memory="system", requests=requests) for job in UNARY]
    if networks:
        made += [
            Load(name, shared_memory=memory, requests=10 * requests)
            for name in NETWORKS
            for memory in ("none", "system")
        ]
    return made


def write_job_inputs(folder: Path) -> None:
    """Write the input file of every job."""
    for job in JOBS:
        write_input(job_input(job), folder / f"{job}.json")


@contextmanager
def _server(options: argparse.Namespace) -> Iterator[Server]:
    """The server that is measured."""
    if options.url:
        key = options.admin_key_file.read_text().strip() if options.admin_key_file else None
        yield Server(options.url, key)
        return
    key = secrets.token_hex()
    with embedded(options.profile, models=options.models, admin_key=key) as server:
        yield Server(str(server.endpoints["gRPC"]), key)


def measure(options: argparse.Namespace) -> list[PerfRun]:
    """Run everything; rows are written as they come."""
    program, here = perf_analyzer(options.program), Circumstances.now(PACKAGES)
    sizes = ModelSet.load(options.models).sizes
    rows: list[PerfRun] = []
    with tempfile.TemporaryDirectory() as name, _server(options) as server:
        folder = Path(name)
        chosen = loads(requests=options.requests, rate=options.rate, networks=options.networks)
        wanted = [load for load in chosen if not options.only or load.model in options.only]
        for load in track(wanted, description="perf_analyzer"):
            batched = load.model in NETWORKS
            made = network_input(load.model, sizes) if batched else job_input(load.model, steps=options.steps)
            data = write_input(made, folder / f"{load.model}.json")
            figures = measured(
                program, load, server=server, batched=batched, data=data, folder=folder, timeout_s=options.timeout_s
            )
            rows.append(
                PerfRun(
                    **asdict(load),
                    **figures,
                    profile=options.profile,
                    weights=options.models.name,
                    commit=commit_here(),
                    date=here.date,
                    machine=here.machine,
                    versions=here.versions,
                )
            )
            write_rows(options.results, PerfRun, rows)
    return rows


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="python -m respin_benchmarks.perf_analyzer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--url", help="HOST:PORT of a running server's gRPC (default: an embedded one is started)")
    made.add_argument("--admin-key-file", type=Path, help="of that server: shared memory needs it")
    made.add_argument("--profile", choices=("cpu", "local"), default="cpu", help="of the embedded one (default: cpu)")
    made.add_argument("--models", type=Path, default=bundled("models/mini"), help="the set (default: the mini one)")
    made.add_argument("--only", nargs="+", choices=[*JOBS, *NETWORKS], metavar="MODEL", help="measure these alone")
    made.add_argument("--no-networks", dest="networks", action="store_false", help="measure the jobs alone")
    made.add_argument("--requests", type=int, default=10, help="jobs in each window (default: %(default)s)")
    made.add_argument("--steps", type=int, help="of both samplers (default: the request's own)")
    made.add_argument("--rate", type=float, default=0.5, help="jobs a second, open loop (default: %(default)s)")
    made.add_argument("--timeout-s", type=float, default=600, help="of one run (default: %(default)s)")
    made.add_argument("--program", type=Path, default=Path("build/perf_analyzer"), help="where to set perf_analyzer up")
    made.add_argument("--results", type=Path, default=Path("benchmarks/results/perf_analyzer.csv"))
    made.add_argument("--page", type=Path, help="its section is written again, e.g. docs/benchmarks.md")
    made.add_argument("--write-inputs", type=Path, metavar="FOLDER", help="write the jobs' input files, no more")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure; 1 if something could not be."""
    options = parser().parse_args(arguments)
    try:
        if options.write_inputs:
            write_job_inputs(options.write_inputs)
            return 0
        if options.page:
            check_section(options.page, SECTION)
        with noted(SECTION, [options.results], anew=True):
            measure(options)
        text = page_of(read_rows(options.results, PerfRun))
        print(text)
        if options.page:
            write_section(options.page, SECTION, text)
    except RespinError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
