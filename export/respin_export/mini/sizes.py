"""What the mini set fixes about its pictures."""

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
"""Half the published sides or less: a job takes a second on a CPU, and the networks learn their task in an hour."""
