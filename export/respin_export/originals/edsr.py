"""EDSR as its authors ran it (sanghyun-son/EDSR-PyTorch)."""

from __future__ import annotations

from collections.abc import Iterator

from respin_export.originals.case import Case, channels_first
from respin_export.originals.reference import Reference

LAYOUT, BASELINE = "edsr/reduced", "edsr/baseline"


def cases(reference: Reference, network: str) -> Iterator[Case]:
    """What is known of it.

    Args:
        reference: the folder.
        network: its name.
    """
    yield case(reference, network, LAYOUT)


def case(reference: Reference, network: str, layout: str) -> Case:
    """What is known of one of its models: the paper's reduced, or the baseline."""
    known = reference.outputs(layout)
    height, width, _ = known["input_uint8"].shape
    image = channels_first(known["input_uint8"])
    return Case(network, f"{height} x {width} px", {"image": image}, {"upscaled": known["output"]})
