"""The tensors and configurations of each published checkpoint, at the published size and at a mini one.

`layouts.json.xz` holds, for each "checkpoint:variant" and size, `files` ({path: {name: shape}}) and `configs` ({path:
JSON}). The names and shapes of the authors' files are those of the authors' own classes, the others those of diffusers
and transformers. A tensor that is not float32 is [shape, dtype]; one that is stored under an earlier name is that name.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import torch
from torch import Tensor

LayoutSize = Literal["mini", "full"]
Layout = dict[str, Tensor]

TRAINED_BY_ZERO123 = ("model.diffusion_model.", "cc_projection.")
"""Prefixes of the parameters that Zero123's optimizer has moments of."""


@dataclass(frozen=True)
class CheckpointLayout:
    """The files of a checkpoint without their values.

    Args:
        files: state dict of each file of weights by path, of tensors on torch's meta device; one tensor under two names
            is stored once.
        configs: JSON objects by path. Beside an authors' file: the numbers that do not follow from mini shapes.
    """

    files: Mapping[str, Layout]
    configs: Mapping[str, Any]


def checkpoint_layout(name: str, size: LayoutSize) -> CheckpointLayout:
    """Return the layout of a checkpoint.

    Args:
        name: "checkpoint:variant", of the catalogue.
        size: "full", or "mini": small widths where the contracts leave them open.
    """
    raw = _read()[name][size]
    return CheckpointLayout({path: _state_dict(tensors) for path, tensors in raw["files"].items()}, raw["configs"])


@cache
def _read() -> dict[str, Any]:
    packed = files("respin_export.weights").joinpath("layouts.json.xz").read_bytes()
    layouts: dict[str, Any] = json.loads(lzma.decompress(packed))
    return layouts


def _state_dict(tensors: Mapping[str, Any]) -> Layout:
    state: Layout = {}
    for name, raw in tensors.items():
        if isinstance(raw, str):
            state[name] = state[raw]
        else:
            shape, dtype = raw if raw and isinstance(raw[0], list) else (raw, "float32")
            state[name] = torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
    return state


def optimizer_state(zero123: Layout) -> dict[str, Any]:
    """Return Adam's state in Zero123's file: two moments for each parameter of the UNet and the projection."""
    trained = [tensor for key, tensor in zero123.items() if key.startswith(TRAINED_BY_ZERO123)]
    moments = [
        {"step": 105_000, "exp_avg": torch.empty_like(tensor), "exp_avg_sq": torch.empty_like(tensor)}
        for tensor in trained
    ]
    group = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "params": list(range(len(trained)))}
    return {"state": dict(enumerate(moments)), "param_groups": [group]}
