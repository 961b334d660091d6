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

BENCHMARKS: dict[str, tuple[type[Any], str]] = {
    "in-process": (of.InProcessOptions, "in_process.session:run"),
    "batcher": (of.BatcherOptions, "step_batcher.session:run"),
    "stages": (of.StagesOptions, "served.session:run_stages"),
    "load": (of.LoadOptions, "served.session:run_load"),
    "perf": (of.PerfOptions, "perf_analyzer.session:run"),
    "expected": (of.ExpectedOptions, "in_process.expected:run"),
    "gpu-memory": (of.GpuMemoryOptions, "gpu_memory:run"),
    "startup": (of.StartupOptions, "startup:run"),
}
"""Options of each command, whose docstring is its help, and the function that runs it."""


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


def _add(name: str, kind: type[Any], target: str) -> None:
    def run(options: Any) -> None:
        _imported(target)(options)

    app.command(name, help=kind.__doc__)(of.command_from(kind, run))


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
    """Write every section of the documentation again from the CSV files; measure nothing."""
    _imported("sections:write_sections")(results, root)
