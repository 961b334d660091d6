"""Tolerances of the regression tests on the mini set: a handful of scenes, few steps.

`respin quality --broken-stages` measures what is compared with them, and proposes values ("halfway").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from respin.scenes import HELD_OUT_SEEDS

SEEDS = HELD_OUT_SEEDS[3:9]
"""Held-out scenes with every kind of object, turns to both sides, one and two objects."""

REQUEST: Mapping[str, Any] = {"steps": 10, "background_steps": 10}
"""Fields that differ from their defaults; quick, and the same for the correct and the broken stages."""

TOLERANCES: Mapping[str, float | None] = {
    "found": 0.9,
    "box_iou": 0.777,
    "mask_iou": 0.85,
    "colour_error": 22.6,
    "view_psnr": 20.1,
    "ghost": 0.43,
    "closer": 0.55,
}
"""The least mean of each measure over the scenes; of an error, the greatest. Most are halfway between the result as
built and the closest broken stage that has to fail. A measure without a tolerance (None) is not tested."""
