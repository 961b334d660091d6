"""What the networks of a measurement are filled with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from rich.progress import Progress
from torch import nn

from respin.errors import InternalError
from respin.model_set import Sizes
from respin_export.isolated import Failed, run_isolated
from respin_export.mini.sizes import SIZES
from respin_export.mini.trained import KEPT, trained_or_new
from respin_export.published import PublishedWeights
from respin_export.weights.catalogue import CATALOGUE, choose
from respin_export.weights.layouts import Size
from respin_export.weights.synthesize import Synthesizer

SEED = 0
"""Of synthesized weights: speed and memory do not depend on the values."""

Kind = Literal["set", "mini", "full"]


class Weights(Protocol):
    """The ten networks as modules."""

    @property
    def sizes(self) -> Sizes:
        """What they fix about their images."""
        ...

    def load(self, network: str) -> nn.Module:
        """A network with its weights, in float32."""
        ...


class MiniSet:
    """The weights of `models/mini`."""

    sizes = SIZES

    def load(self, network: str) -> nn.Module:
        """A network with its weights."""
        return trained_or_new(network, KEPT)[0]


def weights_of(kind: Kind, folder: Path, *, jobs: int = 1) -> Weights:
    """The weights of a measurement, written first where they are synthesized ones that are not there yet.

    Args:
        kind: "set" = those of models/mini; "mini" and "full" = `respin weights synthesize` of that size.
        folder: of synthesized ones; 14 GB at full size.
        jobs: how many checkpoints are written at a time.

    Raises:
        InternalError: a checkpoint could not be written.
    """
    if kind == "set":
        return MiniSet()
    if missing := [name for name in CATALOGUE if not (folder / name / WRITTEN).is_file()]:
        Synthesizer(folder, kind, SEED, Progress(disable=True)).write([])
        for event in run_isolated({name: partial(_write, folder, kind, name) for name in missing}, jobs):
            if isinstance(event, Failed):
                raise InternalError(f"the weights of {event.name} could not be written: {event.error}")
    return PublishedWeights(folder)


WRITTEN = ".written"
"""Beside a checkpoint that is whole."""


def _write(folder: Path, size: Size, name: str, on_stage: Callable[[str], None]) -> None:
    on_stage("writing")
    Synthesizer(folder, size, SEED, Progress(disable=True)).write([choose(name)])
    (folder / name / WRITTEN).touch()
