"""The options of every benchmark: one dataclass per command, its fields annotated for typer.

The `respin` command imports this module for its `--help`, also if the extras that benchmarks need are not installed.
"""

# ruff: noqa: RUF009 (`many` is dataclasses.field)
from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from typer import Option

PAGE = "docs/benchmarks.md"

RepeatsOption = Annotated[int, Option(min=1, help="Repeats of each measurement, interleaved.")]
Url = Annotated[
    str, Option(metavar="HOST:PORT", envvar="RESPIN_URL", help="gRPC of a running server. Default: an embedded one.")
]


def many(*values: Any) -> Any:
    """Return a dataclass field whose default is a list; on the command line the option is repeated."""
    return field(default_factory=lambda: list(values))


def command_from(kind: type[Any], run: Callable[[Any], None]) -> Callable[..., None]:
    """Return a function that typer turns into a command: its parameters are the fields of a dataclass of options."""

    def command(**given: Any) -> None:
        run(kind(**given))

    command.__doc__, command.__annotations__ = run.__doc__, get_type_hints(kind, include_extras=True)
    parameters = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default if each.default_factory is MISSING else each.default_factory(),
            annotation=command.__annotations__[each.name],
        )
        for each in fields(kind)
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


@dataclass(kw_only=True)
class ReportOptions:
    """Files of rows and report."""

    results: Annotated[Path, Option(help="Folder of the CSV files.")] = Path("benchmarks/results")
    page: Annotated[Path | None, Option(help=f"Markdown file whose section is written again, e.g. {PAGE}.")] = None


@dataclass(kw_only=True)
class InProcessOptions(ReportOptions):
    """Whole jobs through gRPC and in process beside the script that Respin replaces, and each network by itself."""

    measure: Annotated[list[str], Option(help="What to measure: served, jobs, networks.")] = many(
        "served", "jobs", "networks"
    )
    device: Annotated[str, Option(help="cpu or cuda. Default: cuda if there is a GPU.")] = ""
    weights: Annotated[
        str,
        Option(help="set, full (random) or a folder of checkpoints. Default: full on a GPU, set on a CPU."),
    ] = ""
    models: Annotated[Path | None, Option(help="Folder of exported files or engine plans of these weights.")] = None
    tritonserver: Annotated[
        Path | None, Option(envvar="RESPIN_TRITONSERVER", help="As of respin serve, for what is served.")
    ] = None
    runtime: Annotated[list[str], Option(help="Default: that of the files, and torch.")] = many()
    network: Annotated[list[str], Option(help="Measure only these single networks.")] = many()
    calls: Annotated[int, Option(min=1, help="Timed calls of each network.")] = 30
    repeats: Annotated[int, Option(min=1, help="Repeats of every job, interleaved.")] = 3
    steps: Annotated[int, Option(help="Denoising steps of the novel view.")] = 75
    background_steps: Annotated[int, Option(help="Denoising steps of the background.")] = 50
    few_steps: Annotated[int, Option(help="Denoising steps of both with UniPC.")] = 20
    views: Annotated[int, Option(min=1, help="Views of a job with many.")] = 12
    most_jobs: Annotated[int, Option(min=1, help="At the same time.")] = 8
    budget_s: Annotated[float, Option(help="After which nothing new begins.")] = float("inf")
    work: Annotated[Path, Option(help="Folder for random weights and the baseline's pictures.")] = Path(
        "build/in-process"
    )


@dataclass(kw_only=True)
class ServedOptions(ReportOptions):
    """Whole jobs on a server."""

    profile: Annotated[list[str], Option(help="Profiles of the embedded servers.")] = many("cpu", "local")
    url: Url = ""
    metrics_url: Annotated[
        str, Option(metavar="HOST:PORT", help="Metrics of that server. Default: the same host, port 8002.")
    ] = ""
    sampler: Annotated[str, Option(help="Sampler of both UNets.")] = "ddim"
    steps: Annotated[int, Option(help="Denoising steps of the novel view.")] = 75
    background_steps: Annotated[int, Option(help="Denoising steps of the background.")] = 50
    repeats: RepeatsOption = 4


@dataclass(kw_only=True)
class StagesOptions(ServedOptions):
    """Time of one job on the server, stage by stage."""

    repeats: RepeatsOption = 25


@dataclass(kw_only=True)
class LoadOptions(ServedOptions):
    """Many jobs at once on the server: latency, images/s, batches, memory."""

    sampler: Annotated[str, Option(help="Sampler of both UNets.")] = "unipc_karras"
    steps: Annotated[int, Option(help="Denoising steps of the novel view.")] = 20
    background_steps: Annotated[int, Option(help="Denoising steps of the background.")] = 20
    concurrency: Annotated[list[int], Option(min=1, help="Closed loops.")] = many(1, 2, 4, 8, 16)
    jobs: Annotated[int, Option(min=1, help="Jobs of each closed loop, or twice its concurrency if that is more.")] = 8
    repeats: RepeatsOption = 2


@dataclass(kw_only=True)
class BatcherOptions(ReportOptions):
    """Continuous batching on the server, against loops; many views in one request."""

    repeats: RepeatsOption = 5
    steps: Annotated[int, Option(help="Asked of the sampler.")] = 75


@dataclass(kw_only=True)
class StartupOptions(ReportOptions):
    """How fast the embedded server starts, and what it takes."""

    runs: Annotated[int, Option(min=1, help="Starts of each profile.")] = 5


@dataclass(kw_only=True)
class ExpectedOptions(ReportOptions):
    """The time of a job on two cards, from counted arithmetic and the share of the limit that was measured."""


@dataclass(kw_only=True)
class GpuMemoryOptions(ReportOptions):
    """GPU memory by runtime: computed, on a machine without one."""

    figures: Annotated[Path, Option(help="File of the figures that `respin serve` reads.")] = Path(
        "src/respin/gpu_memory.json"
    )


@dataclass(kw_only=True)
class PerfOptions(ReportOptions):
    """perf_analyzer on every job and every network."""

    url: Url = ""
    profile: Annotated[str, Option(help="Profile of the embedded server: cpu or local.")] = "cpu"
    models: Annotated[Path | None, Option(help="Folder of the set. Default: the mini one.")] = None
    only: Annotated[list[str], Option(help="Only these jobs and networks.")] = many()
    requests: Annotated[int, Option(min=1, help="Jobs in each window.")] = 10
    write_inputs: Annotated[Path | None, Option(help="Write the jobs' input files to this folder, no more.")] = None


@dataclass(kw_only=True)
class QualityOptions:
    """Quality of a set's pictures."""

    set_name: Annotated[str, Option("--set", metavar="mini|FOLDER", help="The set of weights, by name or folder.")] = (
        "mini"
    )
    scenes: Annotated[int, Option(min=1, help="How many held-out scenes.")] = 200
    output: Annotated[Path, Option(help="Folder of quality_SET.csv; without --page, of the pictures too.")] = Path(
        "benchmarks/results"
    )
    page: Annotated[Path | None, Option(help="Markdown file to update or create, e.g. docs/quality.md.")] = None
    steps: Annotated[int | None, Option(help="Denoising steps of the novel view. Default: the request's.")] = None
    background_steps: Annotated[
        int | None, Option(help="Denoising steps of the background. Default: the request's.")
    ] = None
    with_box: Annotated[
        bool, Option("--with-box", help="Send each object's true box: judges a set without its detector.")
    ] = False
    url: Annotated[
        str | None,
        Option(metavar="HOST:PORT", envvar="RESPIN_URL", help="A running server of the same set. Default: embedded."),
    ] = None
    device: Annotated[str, Option(help="Where the stages that run in this process run: cpu or cuda.")] = "cpu"
    check: Annotated[bool, Option("--check", help="Exit with status 1 if a target is missed.")] = False
    report_only: Annotated[bool, Option("--report-only", help="Write the report again from the CSV file.")] = False
    broken_stages: Annotated[
        bool, Option("--broken-stages", help="Measure deliberately broken stages instead, and print the table.")
    ] = False
