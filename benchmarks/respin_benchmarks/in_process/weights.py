"""The weights of the networks that are measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.progress import Progress
from torch import nn

from respin.errors import InternalError
from respin.model_set import Sizes
from respin_export.isolated import TaskFailed, run_isolated
from respin_export.mini.trained import MiniSet
from respin_export.published import PublishedWeights
from respin_export.weights.catalogue import CATALOGUE, choose
from respin_export.weights.layouts import LayoutSize
from respin_export.weights.synthesize import Synthesizer

SEED = 0
"""Of synthesized weights: speed and memory do not depend on the values."""

WEIGHTS = {"set": "models/mini", "mini": "mini, random", "full": "full size, random"}
"""What can be measured, in words: the mini set, or what `respin weights synthesize` makes of a size."""

WRITTEN = ".written"
"""A file beside a checkpoint that is complete."""


class Weights(Protocol):
    """The ten networks as modules."""

    @property
    def sizes(self) -> Sizes:
        """What they fix about their images."""
        ...

    def load(self, network: str) -> nn.Module:
        """Load a network in float32."""
        ...


def load_weights(kind: str, folder: Path, *, jobs: int = 1) -> Weights:
    """Return weights, synthesized first if they are not there yet.

    Args:
        kind: key of `WEIGHTS`.
        folder: of synthesized ones; 14 GB at full size.
        jobs: how many checkpoints are written at a time.

    Raises:
        InternalError: a checkpoint could not be written.
    """
    if kind == "set":
        return MiniSet()
    size: LayoutSize = "full" if kind == "full" else "mini"
    if missing := [name for name in CATALOGUE if not (folder / name / WRITTEN).is_file()]:
        Synthesizer(folder, size, SEED, Progress(disable=True)).write([])
        for event in run_isolated({name: partial(_write, folder, size, name) for name in missing}, jobs):
            if isinstance(event, TaskFailed):
                raise InternalError(f"the weights of {event.name} could not be written: {event.error}")
    return PublishedWeights(folder)


def _write(folder: Path, size: LayoutSize, name: str, on_stage: Callable[[str], None]) -> None:
    on_stage("writing")
    Synthesizer(folder, size, SEED, Progress(disable=True)).write([choose(name)])
    (folder / name / WRITTEN).touch()
