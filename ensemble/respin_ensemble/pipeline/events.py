"""The events that a job reports: progress, and results as they become available."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from respin.specs import Array

Stage = Literal[
    "detection", "segmentation", "novel_view", "super_resolution", "outline", "composition", "background", "done"
]

ALL_VIEWS = -1

Results = Mapping[str, Callable[[], Array | bytes | str | float]]
"""Functions that return a result, by the name of the job's output: images are encoded only if they are asked for."""


@dataclass(frozen=True)
class JobEvent:
    """One message of a job.

    Args:
        stage: the stage that reports.
        view: index of the camera move; -1 = all of them.
        step: denoising steps done.
        steps: denoising steps in total; 0 if the stage has none.
        results: results that are available now.
    """

    stage: Stage
    view: int = ALL_VIEWS
    step: int = 0
    steps: int = 0
    results: Results = field(default_factory=dict)

    @property
    def is_superseded(self) -> bool:
        """Whether a later event says all that this one does: this is a step, and not the last one."""
        return 0 < self.step < self.steps


ReportEvent = Callable[[JobEvent], None]
"""Receives the events of a job as they happen, from any of its threads."""
