"""The command `respin export`.

The `respin` command imports this module for its `--help`, also without the export extra: torch is imported by the
processes that export.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from respin.contracts import NETWORKS
from respin.errors import InvalidInput
from respin_export.errors import ExportMismatch
from respin_export.export_set import STAGES, ExportPlan, UpToDate, export_set
from respin_export.isolated import TaskDone, TaskEvent, TaskFailed, TaskProgress
from respin_export.onnx_file import check_slim_installed
from respin_export.published import PublishedWeights


def export(
    networks: Annotated[
        list[str] | None, typer.Argument(metavar="[NETWORK]...", help=f"Some of {', '.join(NETWORKS)}. Default: all.")
    ] = None,
    *,
    weights: Annotated[Path, typer.Option(help="Folder of the published checkpoints (respin weights).")] = Path(
        "weights"
    ),
    set_name: Annotated[
        str | None, typer.Option("--set", metavar="NAME", help="Name of the set. Default: full, or full-fp16.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the set to create or to complete. Default: models/<name of the set>.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16"], typer.Option(help="Number format of the graphs' arithmetic.")
    ] = "fp32",
    jobs: Annotated[int, typer.Option(min=1, help="Number of networks at a time; each takes up to 8 GB.")] = 1,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="Where the original modules run; the files run on the CPU.")
    ] = "cpu",
    raw_weights: Annotated[
        bool, typer.Option("--raw-weights", help="Export Zero123's last weights instead of their moving average.")
    ] = False,
    slim: Annotated[bool, typer.Option("--slim", help="Simplify graphs of up to 600 MB with onnxslim.")] = False,
) -> None:
    """Export the published checkpoints to ONNX, each compared with the module that it was made from.

    Each network is exported in a process of its own. A network that is up to date is kept, so the same command
    continues after an interruption. The manifest records the source of every file and its deviation from its module.

    For example:

        respin export

        respin export edsr vae_decoder --weights weights --output models/full

        respin export --precision fp16 --jobs 2
    """
    chosen = networks or list(NETWORKS)
    _check(chosen, device=device, slim=slim)
    name = set_name or ("full" if precision == "fp32" else "full-fp16")
    source = PublishedWeights(weights, raw_weights)
    options = {"precision": precision, "slim": slim, "device": device}
    folder = output or Path("models") / name
    plan = ExportPlan(folder, name, source.sizes, chosen, source, options, jobs)
    with _Bar.shown(chosen) as bar:
        failed = export_set(plan, bar.follow)
    if failed:
        _refuse(failed, len(chosen))


def _check(networks: list[str], *, device: str, slim: bool) -> None:
    if unknown := [name for name in networks if name not in NETWORKS]:
        raise InvalidInput(f"no network '{unknown[0]}'; there are {', '.join(NETWORKS)}")
    if slim:
        check_slim_installed()
    if device == "cuda" and not _has_cuda():
        raise InvalidInput("--device cuda: torch sees no CUDA device here; use --device cpu")


def _has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch  # noqa: PLC0415 (takes seconds)

    return torch.cuda.is_available()


def _refuse(failed: list[TaskFailed], count: int) -> None:
    reasons = "\n  ".join(f"{each.name}: {each.error}" for each in failed)
    error = InvalidInput if all(isinstance(each.error, InvalidInput) for each in failed) else ExportMismatch
    raise error(f"{len(failed)} of {count} networks were not exported, the others are in place:\n  {reasons}")


class _Bar:
    """One bar for all networks, which moves with each stage, and a line for each network that is done."""

    def __init__(self, progress: Progress, networks: list[str]) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=len(networks) * len(STAGES))
        self.stages = dict.fromkeys(networks, 0)

    @classmethod
    @contextmanager
    def shown(cls, networks: list[str]) -> Iterator[_Bar]:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield cls(progress, networks)

    def follow(self, event: TaskEvent | UpToDate) -> None:
        """Show an event."""
        if isinstance(event, TaskProgress):
            self.stages[event.name] = STAGES.index(event.stage)
            self.progress.update(self.task, description=f"{event.name}: {event.stage}")
        else:
            self.stages[event.name] = len(STAGES)
            self.progress.console.print(_line(event), highlight=False)
        self.progress.update(self.task, completed=sum(self.stages.values()))


def _line(event: TaskDone | TaskFailed | UpToDate) -> str:
    if isinstance(event, UpToDate):
        return f"{event.name}: up to date"
    if isinstance(event, TaskFailed):
        return f"{event.name}: not exported"
    errors = ", ".join(f"{output} {error:.1e}" for output, error in event.result.parity.items())
    note = f"; {event.result.note}" if event.result.note else ""
    return f"{event.name}: {event.wall_s:.0f} s, {event.peak_rss_mib} MiB; errors: {errors}{note}"
