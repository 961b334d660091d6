"""A reference folder: layouts of checkpoints, and the outputs of the original code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from respin.errors import InvalidInput
from respin.specs import Array
from respin_export.originals import fill

_FILES = {
    "grounding_dino": ("groundingdino/reduced", "groundingdino_swint_ogc.pth"),
    "sam": ("sam/reduced", "sam_vit_l_0b3195.pth"),
    "zero123": ("zero123/reduced", "zero123-xl.ckpt"),
    "edsr": ("edsr/reduced", "edsr_x4-4f62e9ef.pt"),
}
"""Layout of each checkpoint, and the published name of its file."""


@dataclass(frozen=True)
class Reference:
    """A reference folder.

    Args:
        folder: path of the folder, e.g. tests/reference.
    """

    folder: Path

    def check(self) -> None:
        """Check that the folder is complete.

        Raises:
            InvalidInput: the folder lacks a reference.
        """
        for layout, _ in _FILES.values():
            for name in ("layout.json", "config.json", "reference.npz"):
                if not (self.folder / layout / name).is_file():
                    raise InvalidInput(
                        f"'{self.folder}' is no reference folder, it has no {layout}/{name}; name tests/reference of "
                        "Respin's sources"
                    )

    def outputs(self, layout: str) -> dict[str, Array]:
        """Return the outputs of the original implementation by name.

        Args:
            layout: a sub-folder, e.g. "sam/reduced".
        """
        return dict(_outputs(self.folder / layout / "reference.npz"))

    def config(self, layout: str) -> dict[str, Any]:
        """Return the arguments of the original's constructor."""
        config: dict[str, Any] = json.loads((self.folder / layout / "config.json").read_text())
        return config

    def tensors(self, layout: str) -> dict[str, Tensor]:
        """Return the filled tensors of a checkpoint in a new dictionary."""
        return dict(_tensors(self.folder / layout / "layout.json"))

    def write_weights(self, weights: Path) -> None:
        """Write the four reduced checkpoints under their published names, each with its config.json.

        Args:
            weights: the weights folder.
        """
        for checkpoint, (layout, name) in _FILES.items():
            (weights / checkpoint).mkdir(parents=True, exist_ok=True)
            torch.save(_wrapped(checkpoint, self.tensors(layout)), weights / checkpoint / name)
            shutil.copy(self.folder / layout / "config.json", weights / checkpoint)

    def contract_lengths(self, network: str) -> Iterator[tuple[int, int]]:
        """Yield lengths that differ between contract and reduced network: (the contract's, the network's)."""
        if network == "grounding_dino":
            yield 900, self.config("groundingdino/reduced")["num_queries"]
        if network in {"sam_encoder", "sam_decoder"}:
            yield 256, self.config("sam/reduced")["prompt_dim"]


def _wrapped(checkpoint: str, state: dict[str, Tensor]) -> dict[str, Any]:
    if checkpoint == "grounding_dino":
        return {"model": state}
    return {"global_step": 105_000, "state_dict": state} if checkpoint == "zero123" else state


@cache
def _outputs(path: Path) -> dict[str, Array]:
    with np.load(path) as arrays:
        return dict(arrays)


@cache
def _tensors(layout: Path) -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.asarray(array)) for key, array in fill.state_dict(layout).items()}
