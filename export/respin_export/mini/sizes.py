"""The image sizes of the mini set."""

from __future__ import annotations

from respin.model_set import Sizes

SIZES = Sizes(
    sam_side=256,
    view_side=128,
    inpaint_side=256,
    detection_short_side=224,
    detection_long_side=373,
    object_share=0.65,
)
"""Image sizes of the set, half the published ones or less: a job takes a second on a CPU, and training an hour."""
