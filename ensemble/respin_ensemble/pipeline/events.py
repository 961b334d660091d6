"""What a job says while it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from respin.specs import Array

Stage = Literal["detection", "segmentation", "novel_view", "super_resolution", "background", "done"]

ALL_VIEWS = -1


Made = Mapping[str, Callable[[], Array | bytes | str | float]]
"""Results by the name of the job's output, each made only if somebody calls for it: pictures are costly to encode."""


@dataclass(frozen=True)
class Event:
    """One message of a job.

    Args:
        stage: that it speaks of.
        view: index of the camera move; -1 = all of them.
        step: denoising steps done.
        steps: denoising steps in all; 0 where the stage has none.
        made: results that are there now.
    """

    stage: Stage
    view: int = ALL_VIEWS
    step: int = 0
    steps: int = 0
    made: Made = field(default_factory=dict)


Report = Callable[[Event], None]
"""Takes each event of a job as it happens, from any of its threads. It raises `Cancelled` when nobody waits for the
job any more, which is how a job learns of it."""
