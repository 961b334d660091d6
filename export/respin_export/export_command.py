"""`respin export`.

The `respin` command imports this module for its `--help`, also where the export extra is not installed: torch is
imported by the processes that export.
"""

from __future__ import annotations

import enum
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from respin.contracts import NETWORKS
from respin.errors import InvalidInput
from respin_export.errors import ExportMismatch
from respin_export.export_set import Kept, Plan, export_set
from respin_export.isolated import Done, Event, Failed, Stage
from respin_export.onnx_file import check_slim_installed
from respin_export.published import PublishedWeights


class Precision(str, enum.Enum):
    """In which the graphs compute."""

    FP32 = "fp32"
    FP16 = "fp16"


class Device(str, enum.Enum):
    """Where the modules compute what the graphs are compared with."""

    CPU = "cpu"
    CUDA = "cuda"


USUAL_S = {
    "grounding_dino": 270,
    "sam_encoder": 190,
    "sam_decoder": 40,
    "clip_vision": 70,
    "zero123_unet": 130,
    "vae_encoder": 40,
    "vae_decoder": 50,
    "edsr": 60,
    "clip_text": 40,
    "inpaint_unet": 130,
}
"""How long the published networks take on two cores, one to another: the shares of the progress bar."""

SHARE_BEFORE = {"loading": 0.0, "computing": 0.1, "tracing": 0.25, "writing": 0.7, "checking": 0.75}
"""How much of a network's time has passed when a stage begins."""


def export(
    networks: Annotated[
        list[str] | None, typer.Argument(metavar="[NETWORK]...", help=f"Some of {', '.join(NETWORKS)}. Default: all.")
    ] = None,
    *,
    weights: Annotated[Path, typer.Option(help="Folder of the published checkpoints: respin weights.")] = Path(
        "weights"
    ),
    set_name: Annotated[
        str | None, typer.Option("--set", metavar="NAME", help="Name of the set. Default: full, or full-fp16.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the set to make or to complete. Default: models/<name of the set>.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="In which the graphs compute.")] = Precision.FP32,
    jobs: Annotated[int, typer.Option(min=1, help="Networks at a time; each takes up to 8 GB.")] = 1,
    device: Annotated[
        Device, typer.Option(help="Where the original modules run; the files run on the CPU.")
    ] = Device.CPU,
    raw_weights: Annotated[
        bool, typer.Option("--raw-weights", help="Zero123's last weights instead of their moving average.")
    ] = False,
    slim: Annotated[bool, typer.Option("--slim", help="Let onnxslim shrink graphs of up to 600 MB.")] = False,
) -> None:
    """Export the published checkpoints to ONNX, each compared with the module that it was made from.

    Each network is exported in a process of its own. One that is there and up to date is kept: run the same command
    again after an interruption. The manifest records where every file comes from and how far it is from its module.

    For example:

        respin export

        respin export edsr vae_decoder --weights weights --output models/full

        respin export --precision fp16 --jobs 2
    """
    chosen = networks or list(NETWORKS)
    _check(chosen, device=device, slim=slim)
    name = set_name or ("full" if precision is Precision.FP32 else "full-fp16")
    source = PublishedWeights(weights, raw_weights)
    options = {"precision": precision.value, "slim": slim, "device": device.value}
    folder = output or Path("models") / name
    plan = Plan(folder, name, source.sizes, chosen, source, options, jobs)
    with _Bar.shown(chosen) as bar:
        failed = export_set(plan, bar.follow)
    if failed:
        _refuse(failed, len(chosen))


def _check(networks: list[str], *, device: Device, slim: bool) -> None:
    if unknown := [name for name in networks if name not in NETWORKS]:
        raise InvalidInput(f"no network '{unknown[0]}'; there are {', '.join(NETWORKS)}")
    if slim:
        check_slim_installed()
    if device is Device.CUDA and not _has_cuda():
        raise InvalidInput("--device cuda: torch sees no CUDA device here; use --device cpu")


def _has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch  # noqa: PLC0415 (seconds, for this answer alone)

    return torch.cuda.is_available()


def _refuse(failed: list[Failed], count: int) -> None:
    reasons = "\n  ".join(f"{each.name}: {each.error}" for each in failed)
    error = InvalidInput if all(isinstance(each.error, InvalidInput) for each in failed) else ExportMismatch
    raise error(f"{len(failed)} of {count} networks were not exported, the others are in place:\n  {reasons}")


class _Bar:
    """One bar for all networks, and a line for each that is done."""

    def __init__(self, progress: Progress, networks: list[str]) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=sum(USUAL_S[name] for name in networks))
        self.passed = dict.fromkeys(networks, 0.0)

    @classmethod
    @contextmanager
    def shown(cls, networks: list[str]) -> Iterator[_Bar]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield cls(progress, networks)

    def follow(self, event: Event | Kept) -> None:
        """Show what happened."""
        if isinstance(event, Stage):
            self.passed[event.name] = SHARE_BEFORE[event.stage] * USUAL_S[event.name]
            self.progress.update(self.task, description=f"{event.name}: {event.stage}")
        else:
            self.passed[event.name] = USUAL_S[event.name]
            self.progress.console.print(_line(event), highlight=False)
        self.progress.update(self.task, completed=sum(self.passed.values()))


def _line(event: Done | Failed | Kept) -> str:
    if isinstance(event, Kept):
        return f"{event.name}: up to date"
    if isinstance(event, Failed):
        return f"{event.name}: not exported"
    errors = ", ".join(f"{output} {error:.1e}" for output, error in event.result.parity.items())
    note = f"; {event.result.note}" if event.result.note else ""
    return f"{event.name}: {event.wall_s:.0f} s, {event.peak_rss_mib} MiB; errors: {errors}{note}"
