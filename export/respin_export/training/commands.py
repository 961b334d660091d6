"""The command `respin train`.

The `respin` command imports this module for its `--help`, also without the export extra: torch is imported when
training begins.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from respin.errors import InvalidInput, RespinError
from respin.runtimes import Device
from respin_export.isolated import TaskDone, TaskFailed, TaskProgress, run_isolated
from respin_export.training.run_files import CHECKPOINT, DATA, WEIGHTS

NETWORKS = ("vae", "vae_decoder", "zero123", "inpainting", "sam", "edsr", "grounding_dino")
"""Names of the runs, in an order in which they can be trained."""

NEEDS = {"vae_decoder": "vae", "zero123": "vae_decoder", "inpainting": "vae_decoder"}
"""Run that must be finished before another."""


def train(
    network: Annotated[str, typer.Argument(help=f"One of {', '.join(NETWORKS)}, or all.")],
    *,
    output: Annotated[
        Path, typer.Option(help="Folder of the runs: rendered data, checkpoints, curves. An existing run continues.")
    ] = Path("build/training"),
    device: Annotated[Device, typer.Option(help="Where to train.")] = "cpu",
    jobs: Annotated[int, typer.Option(min=1, help="Networks that are trained at a time, with one thread each.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, batches and noise.")] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="Stop each run at its next evaluation after this long; the same command resumes it."
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Folder of runs with weights to start from, e.g. models/mini-weights; runs in OUTPUT keep theirs."
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard the checkpoint, the weights and the curve of each run.")
    ] = False,
) -> None:
    """Train networks of the mini set on rendered scenes.

    Scenes are rendered first, once. Checkpoint and curve of each run are in OUTPUT/NETWORK; a run that was stopped
    continues from its checkpoint. zero123 and inpainting need the run vae_decoder, which needs vae.
    `python -m respin_export.mini` writes the set from the runs.

    `respin train all` trains everything; `respin train zero123 --minutes 60` trains one network for an hour.
    """
    names = NETWORKS if network == "all" else (network,)
    if unknown := set(names) - set(NETWORKS):
        raise InvalidInput(f"no network '{unknown.pop()}' to train; choose one of {', '.join(NETWORKS)}, or all")
    if init is not None:
        _take_weights(init, output)
    settings: dict[str, object] = {
        "device": device,
        "seed": seed,
        "restart": restart,
        "stop_after_s": None if minutes is None else 60 * minutes,
    }
    failed = train_all(names, output, jobs=jobs, settings=settings)
    if failed:
        raise failed[0].error


def _take_weights(init: Path, output: Path) -> None:
    """Copy the weights of runs that have none yet."""
    found = {path.parent.name: path for path in init.glob(f"*/{WEIGHTS}")}
    if not found:
        raise InvalidInput(f"no runs with a {WEIGHTS} in '{init}'; name a folder like models/mini-weights")
    if "vae_decoder" in found:
        # That run begins with the whole VAE and goes on with its decoder, so vae itself need not be kept.
        found.setdefault("vae", found["vae_decoder"])
    for name, path in found.items():
        target = output / name
        if not any((target / file).is_file() for file in (CHECKPOINT, WEIGHTS)):
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def train_all(names: Sequence[str], output: Path, *, jobs: int, settings: dict[str, object]) -> list[TaskFailed]:
    """Train networks, each after the run that it needs.

    Args:
        names: names of `NETWORKS`.
        output: folder of the runs.
        jobs: number of processes at a time.
        settings: arguments of `respin_export.training.run.train_one`.

    Returns:
        The runs that failed.
    """
    failed: list[TaskFailed] = []
    with _Board(names) as board:
        _render(names, output, jobs, board)
        for wave in _waves(names):
            tasks = {name: partial(_train, name, output, dict(settings)) for name in wave}
            for event in run_isolated(tasks, jobs):
                if isinstance(event, (TaskProgress, TaskDone)):
                    told = event.stage if isinstance(event, TaskProgress) else event.result
                    share, _, said = told.partition(" ")
                    board.show(event.name, float(share), said)
                else:
                    failed.append(event)
                    board.show(event.name, 0, "failed")
            if failed:
                break
    return failed


class _Board:
    """Shows how far the runs are: a bar each on a terminal; elsewhere, as in a log, a line for each news or tenth."""

    def __init__(self, names: Sequence[str]) -> None:
        self._console = Console()
        self._bars = Progress(
            TextColumn("{task.description:16}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks = {name: self._bars.add_task(name, total=1.0, said="waiting") for name in (DATA, *names)}
        self._told: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> _Board:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, name: str, share: float, said: str) -> None:
        """Show how far a run is, or the rendering of the data, and what it says of itself."""
        self._bars.update(self._tasks[name], completed=share, said=said)
        news = said, int(10 * share)
        if self._bars.disable and self._told.get(name) != news:
            self._told[name] = news
            self._console.print(f"{name}: {share:.0%} {said}", highlight=False, soft_wrap=True)


def _waves(names: Sequence[str]) -> list[list[str]]:
    """Group runs so that each comes after the group with the run that it needs."""
    waves: list[list[str]] = []
    left = list(names)
    while left:
        ready = [name for name in left if NEEDS.get(name) not in left]
        waves.append(ready)
        left = [name for name in left if name not in ready]
    return waves


def _render(names: Sequence[str], output: Path, jobs: int, board: _Board) -> None:
    """Render missing data in this process, since daemonic processes of runs cannot start others."""
    from respin_export.training.run import render_data  # noqa: PLC0415 (torch)

    render_data(names, output, jobs=jobs, report=lambda name, share: board.show(DATA, share, name))
    board.show(DATA, 1, "rendered")


def _train(name: str, output: Path, settings: dict[str, object], report: Callable[[str], None]) -> str:
    """Train one network, in a process of its own."""
    from respin_export.training.run import train_one  # noqa: PLC0415 (torch)

    try:
        return train_one(name, output, report=report, **settings)  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise RespinError(f"{name}: {error}; train {NEEDS.get(name, 'it')} first") from None
