"""The reference checkpoints: filled, or as hollow tensors of the published shapes."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from respin_export.originals.reference import Reference

REFERENCE = Path(__file__).parent
ORIGINALS = Reference(REFERENCE)
tensors = ORIGINALS.tensors

STORED = torch.tensor(0.5)
"""The one number behind every hollow tensor; no library initialises anything with it."""


def hollow(layout):
    """Tensors of a layout's keys and shapes that take no room, in a file or in memory."""
    shapes = json.loads((REFERENCE / layout / "layout.json").read_text())
    return {key: STORED.to(getattr(torch, dtype)).expand(shape) for key, (shape, dtype) in shapes.items()}
