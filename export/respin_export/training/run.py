"""The parts of `respin train` that need PyTorch: rendering data, and one training run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from respin.errors import InvalidInput
from respin_export.training.loop import TrainingProgress, fit
from respin_export.training.recipes import RECIPES
from respin_export.training.run_files import DATA
from respin_export.training.scenes import DataSet

ReportShare = Callable[[str], None]
"""Callback with "<share done> <description>"."""


def render_data(names: Sequence[str], output: Path, *, jobs: int, report: Callable[[str, float], None]) -> None:
    """Render the missing data sets of some runs.

    Args:
        names: names of the runs.
        output: folder of all runs.
        jobs: number of processes.
        report: called with the name of a data set and the share of it that is rendered in this call.
    """
    for data in dict.fromkeys(data for name in names for data in RECIPES[name].data):
        rendered = 0

        def count(seeds: int, data: DataSet = data) -> None:
            nonlocal rendered
            rendered += seeds
            report(data.name, rendered / (data.seeds + data.held_out))

        data.make(output / DATA, jobs=jobs, on_chunk=count)


def train_one(
    name: str,
    output: Path,
    *,
    report: ReportShare,
    device: str = "cpu",
    seed: int = 0,
    stop_after_s: float | None = None,
    restart: bool = False,
) -> str:
    """Train a network whose data are rendered, or continue from its checkpoint.

    Args:
        name: name of the run, one of `RECIPES`.
        output: folder of all runs.
        report: called with the progress.
        device: "cpu" or "cuda".
        seed: seed of weights, batches and noise.
        stop_after_s: wall time after which the run stops, to be resumed; None = at the last step.
        restart: whether to discard an existing checkpoint.

    Returns:
        Like the progress: "<share done> <description>".

    Raises:
        InvalidInput: the device is not available.
        FileNotFoundError: a run that this one needs has no checkpoint.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput("--device cuda: PyTorch finds no CUDA device; use --device cpu, or install a CUDA build")
    # One thread for each process: on few cores, waiting threads cost more than they gain.
    torch.set_num_threads(1)
    recipe, folder = RECIPES[name], output / name
    recipe.prepare(output, lambda chunk: report(f"0 encoding, chunk {chunk}"))
    if restart:
        shutil.rmtree(folder, ignore_errors=True)

    ended = "1 done"

    def on_progress(progress: TrainingProgress) -> None:
        nonlocal ended
        share, step = f"{progress.step / progress.steps:.4f}", f"step {progress.step} of {progress.steps}"
        numbers = "  ".join(f"{key} {value:.3g}" for key, value in progress.metrics.items())
        report(f"{share} {step}  {numbers}")
        ended = f"{share} ended at {step}"

    fit(recipe.task(output), folder, seed=seed, device=device, on_progress=on_progress, stop_after_s=stop_after_s)
    return ended
