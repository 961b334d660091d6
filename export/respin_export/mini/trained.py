"""Load the mini set's networks with their trained weights."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from respin.errors import InvalidInput
from respin.model_set import Sizes
from respin_export.mini.networks import SEED, build, build_seeded
from respin_export.mini.sizes import SIZES
from respin_export.training.recipes import TRAINED
from respin_export.training.run_files import CURVE, WEIGHTS

KEPT = Path(__file__).resolve().parents[3] / "models" / "mini-weights"
"""Runs of the committed set: weights in float16, and curves. Only a checkout has them."""

TARGETS: dict[str, dict[str, float]] = {
    "vae_decoder": {"object_psnr": 24, "scene_psnr": 28},
    "zero123": {"psnr_12": 20, "iou_12": 0.88},
    "inpainting": {"hole_12": 21},
    "sam": {"iou": 0.9},
    "edsr": {"views_gain": 1, "rooms_gain": 1},
    "grounding_dino": {"iou80": 0.95, "choice": 0.95},
}
"""Least figures at the end of each run's curve with which its networks count as trained.

Copying the photo's view reaches 13.9 dB in the place of `psnr_12`, `cv2.inpaint` 20.5 dB in the place of `hole_12`.
"""


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
    return round_weights(build_seeded(lambda: load(runs))), training_record(run, runs)


def training_record(run: str, runs: Path) -> dict[str, Any]:
    """Return how a run was trained, and what it reached, for the manifest.

    Args:
        run: name of a run that has weights.
        runs: folder of the runs.

    Returns:
        Whether it reached its `TARGETS` ("trained"), those that it missed ("missed"), its command, the path of its
        curve in the folder of the runs, and the curve's last row.

    Raises:
        InvalidInput: the curve does not say what the run reached.
    """
    path = runs / run / CURVE
    try:
        with path.open(newline="") as file:
            figures = {name: float(value) for name, value in list(csv.DictReader(file))[-1].items()}
        missed = {name: least for name, least in TARGETS[run].items() if figures[name] < least}
        seed = int(figures.pop("seed"))
    except (OSError, LookupError, TypeError, ValueError):
        raise InvalidInput(
            f"'{path}' does not say what the run reached, wanted is a last row with seed, {', '.join(TARGETS[run])}; "
            f"train it (respin train {run} --output {runs}), or export other networks (--only)"
        ) from None
    return {
        "trained": not missed,
        **({"missed": missed} if missed else {}),
        "command": f"respin train {run} --seed {seed}",
        "curve": f"{run}/{CURVE}",
        **figures,
    }


@torch.no_grad()
def round_weights(module: nn.Module) -> nn.Module:
    """Round the weights to float16, as they are stored, so that graph and module compute the same."""
    for parameter in module.parameters():
        parameter.copy_(parameter.half().float())
    return module
