"""The reference checkpoints: filled, or as hollow tensors of the published shapes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import fill
import numpy as np
import torch

REFERENCE = Path(__file__).parent


def tensors(layout):
    """The filled tensors of a layout below tests/reference, in a dictionary of the caller's own."""
    return dict(_tensors(layout))


@cache
def _tensors(layout):
    arrays = fill.state_dict(REFERENCE / layout / "layout.json")
    return {key: torch.from_numpy(np.asarray(array)) for key, array in arrays.items()}


STORED = torch.tensor(0.5)
"""The one number behind every hollow tensor; no library initialises anything with it."""


def hollow(layout):
    """Tensors of a layout's keys and shapes that take no room, in a file or in memory."""
    shapes = json.loads((REFERENCE / layout / "layout.json").read_text())
    return {key: STORED.to(getattr(torch, dtype)).expand(shape) for key, (shape, dtype) in shapes.items()}
