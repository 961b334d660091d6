"""The weights that are measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.progress import Progress

from respin.errors import InternalError
from respin_export.isolated import TaskFailed, run_isolated
from respin_export.mini.trained import MiniSet
from respin_export.published import PublishedWeights
from respin_export.weights.catalogue import CATALOGUE, choose
from respin_export.weights.synthesize import Synthesizer

SEED = 0
"""Seed of synthesized weights: speed and memory do not depend on the values."""

WRITTEN = ".written"
"""A file beside a checkpoint that is complete."""


Weights = MiniSet | PublishedWeights
"""The ten networks as modules, and the sizes of their images."""


def load_weights(kind: str, work: Path, *, jobs: int) -> tuple[Weights, Path | None, str]:
    """Return weights, their folder of checkpoints (None = the mini set's own), and which ones they are in words.

    Args:
        kind: "set" for the mini set, "full" for random ones of full size, or a folder of checkpoints.
        work: folder in which random ones are written, once; 14 GB.
        jobs: how many checkpoints are written at a time.

    Raises:
        InternalError: a checkpoint could not be written.
    """
    if kind == "set":
        return MiniSet(), None, "models/mini"
    if kind != "full":
        return PublishedWeights(Path(kind)), Path(kind), kind
    folder = work / "weights"
    if missing := [name for name in CATALOGUE if not (folder / name / WRITTEN).is_file()]:
        Synthesizer(folder, "full", SEED, Progress(disable=True)).write([])
        for event in run_isolated({name: partial(_write, folder, name) for name in missing}, jobs):
            if isinstance(event, TaskFailed):
                raise InternalError(f"the weights of {event.name} could not be written: {event.error}")
    return PublishedWeights(folder), folder, "full size, random"


def _write(folder: Path, name: str, on_stage: Callable[[str], None]) -> None:
    on_stage("writing")
    Synthesizer(folder, "full", SEED, Progress(disable=True)).write([choose(name)])
    (folder / name / WRITTEN).touch()
