"""`respin bench`: every benchmark under one name.

The `respin` command imports this module for its `--help`, also if the extras that benchmarks need are not installed:
what measures is imported when a command runs.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from respin.errors import InvalidInput
from respin_benchmarks import options as of

app = typer.Typer(no_args_is_help=True, help="Measure: what a job costs, and where the time goes.")

BENCHMARKS: dict[str, tuple[type[Any], str, str]] = {
    "in-process": (
        of.InProcessOptions,
        "in_process.session:run",
        "Whole jobs through gRPC and in process beside the script that Respin replaces, and each network by itself.",
    ),
    "batcher": (
        of.BatcherOptions,
        "step_batcher.session:run",
        "Continuous batching on the server, against loops; many views in one request.",
    ),
    "stages": (
        of.StagesOptions,
        "served.session:run_stages",
        "Where one job's time goes on the server, stage by stage.",
    ),
    "load": (
        of.LoadOptions,
        "served.session:run_load",
        "Many jobs at once on the server: latency, images/s, batches, memory.",
    ),
    "spin": (of.SpinOptions, "served.session:run_spin", "Many views in one request, against one view."),
    "perf": (of.PerfOptions, "perf_analyzer.session:run", "perf_analyzer on every job and every network."),
    "gpu-memory": (of.GpuMemoryOptions, "gpu_memory:run", "GPU memory by runtime: computed, on a machine without one."),
    "startup": (of.StartupOptions, "startup:run", "How fast the embedded server starts, and what it takes."),
}
"""By command: its options, the function that runs it, its help."""


def _imported(target: str) -> Callable[..., None]:
    """Import a function of this package, "module:name".

    Raises:
        InvalidInput: an extra is not installed.
    """
    module, name = target.split(":")
    try:
        found: Callable[..., None] = getattr(import_module(f"respin_benchmarks.{module}"), name)
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"there is no module '{error.name}'; pip install 'respin[serve,export,bench]', "
            "a CPU build of torch first where no GPU is wanted"
        ) from error
    return found


def _add(name: str, kind: type[Any], target: str, meaning: str) -> None:
    def run(options: Any) -> None:
        _imported(target)(options)

    app.command(name, help=meaning)(of.command_from(kind, run))


for _name, _benchmark in BENCHMARKS.items():
    _add(_name, *_benchmark)


@app.command()
def compare(
    older: Annotated[Path, typer.Argument(help="CSV file.")], newer: Annotated[Path, typer.Argument(help="CSV file.")]
) -> None:
    """Exit with status 1 if one results file is slower than another, beyond the noise of both."""
    _imported("compare:run")(older, newer)


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="Folder of the CSV files.")] = Path("benchmarks/results"),
    root: Annotated[Path, typer.Option(help="Folder of the checkout.")] = Path(),
) -> None:
    """Write every section and picture of the documentation again from the CSV files; measure nothing."""
    _imported("sections:write_sections")(results, root)
