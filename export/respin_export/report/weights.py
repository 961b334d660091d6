"""The reduced checkpoints that the chain begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from respin_export.originals.reference import Reference
from respin_export.weights.catalogue import choose
from respin_export.weights.synthesize import Synthesizer


@dataclass(frozen=True)
class ReducedWeights:
    """Writes five checkpoints: the four of a reference folder, and inpainting's, whose original is its library.

    Args:
        folder: the weights folder to make.
        reference: folder of the original's outputs.
    """

    folder: Path
    reference: Path

    def __call__(self, on_stage: Callable[[str], None]) -> None:
        """Write them; a task of `run_isolated`."""
        on_stage("writing weights")
        Synthesizer(self.folder, "mini", 0, Progress(disable=True)).write([choose("inpaint")])
        Reference(self.reference).write_weights(self.folder)
