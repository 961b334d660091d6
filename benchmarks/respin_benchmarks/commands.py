"""`respin bench`: every benchmark under one name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import typer

from respin.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Measure: what a job costs, and where the time goes.")


@dataclass(frozen=True)
class Benchmark:
    """A command that is a module of its own.

    Args:
        module: its `main` takes the arguments and returns an exit code, or nothing.
        meaning: one line.
        arguments: that come before those given.
    """

    module: str
    meaning: str
    arguments: tuple[str, ...] = ()


BENCHMARKS = {
    "networks": Benchmark(
        "in_process.__main__",
        "Each network by itself, against the machine's limit",
        ("--measure", "networks"),
    ),
    "pipeline": Benchmark(
        "in_process.__main__",
        "Whole jobs without a server, beside the script that Respin replaces: one, many views, many at once",
        ("--measure", "cold", "jobs"),
    ),
    "engine": Benchmark(
        "step_scheduler.__main__", "Continuous batching on the server, against loops; many views in one request"
    ),
    "stages": Benchmark(
        "served.__main__", "Where one job's time goes on the server, stage by stage", ("--measure", "stages")
    ),
    "load": Benchmark(
        "served.__main__",
        "Many jobs at once on the server: latency, images/s, batches, memory",
        ("--measure", "load", "--sampler", "unipc_karras", "--steps", "20", "--background-steps", "20"),
    ),
    "spin": Benchmark("served.__main__", "Many views in one request, against one view", ("--measure", "spin")),
    "overhead": Benchmark("overhead", "What the server adds to a job, against the same job in this process"),
    "perf": Benchmark("perf_analyzer.__main__", "perf_analyzer on every job and every network"),
    "startup": Benchmark("startup", "How fast the embedded server starts, and what it weighs"),
    "compare": Benchmark("compare", "Whether one results file is slower than another, beyond the noise of both"),
}


def _command(benchmark: Benchmark) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        try:
            module = import_module(f"respin_benchmarks.{benchmark.module}")
        except ModuleNotFoundError as error:
            raise InvalidInput(
                f"there is no module '{error.name}'; pip install 'respin[serve,export,bench]', "
                "a CPU build of torch first where no GPU is wanted"
            ) from error
        raise typer.Exit(module.main([*benchmark.arguments, *context.args]) or 0)

    return run


for _name, _benchmark in BENCHMARKS.items():
    app.command(
        _name,
        help=_benchmark.meaning,
        # Each has an argument parser of its own, which also answers --help.
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    )(_command(_benchmark))
