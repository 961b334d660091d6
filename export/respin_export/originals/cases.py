"""All that is known of each network."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from respin_export.checkpoints import CHECKPOINT_OF
from respin_export.originals.case import Case
from respin_export.originals.reference import Reference


def cases_of(network: str, reference: Reference, weights: Path) -> list[Case]:
    """The calls of a network whose right answer is known.

    Args:
        network: its name.
        reference: a reference folder.
        weights: with the checkpoints of `Reference.write_weights`, and with inpainting's as a diffusers folder.
    """
    checkpoint = CHECKPOINT_OF[network]
    known = import_module(f"respin_export.originals.{checkpoint}")
    # Nobody but the libraries themselves is the original of inpainting's layout.
    return list(known.cases(weights if checkpoint == "inpaint" else reference, network))
