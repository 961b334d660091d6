"""Load the mini set's networks with their trained weights."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from respin.model_set import Sizes
from respin_export.mini.networks import SEED, build, build_seeded
from respin_export.mini.sizes import SIZES
from respin_export.training.loop import CURVE, WEIGHTS
from respin_export.training.recipes import TRAINED

KEPT = Path(__file__).resolve().parents[3] / "models" / "mini-weights"
"""Runs of the committed set: weights in float16, and curves. Only a checkout has them."""


@dataclass(frozen=True)
class MiniSet:
    """The weights of the mini set as modules.

    Args:
        runs: folder of the runs of `respin train`.
    """

    runs: Path = KEPT

    sizes: ClassVar[Sizes] = SIZES
    """Image sizes of the set."""

    def load(self, network: str) -> nn.Module:
        """Load a network in float32, by name."""
        return load_or_build(network, self.runs)[0]


def load_or_build(name: str, runs: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a network from its run, or build it, and return it with the record of its training."""
    run, load = TRAINED.get(name, (None, None))
    if run is None or load is None or not (runs / run / WEIGHTS).is_file():
        return round_weights(build(name)), {"trained": False, "seed": SEED}
    with (runs / run / CURVE).open() as file:
        rows = list(csv.DictReader(file))
    figures = {key: float(value) for key, value in rows[-1].items()} if rows else {}
    return round_weights(build_seeded(lambda: load(runs))), {"trained": True, "run": run, **figures}


@torch.no_grad()
def round_weights(module: nn.Module) -> nn.Module:
    """Round the weights to float16, as they are stored, so that graph and module compute the same."""
    for parameter in module.parameters():
        parameter.copy_(parameter.half().float())
    return module
