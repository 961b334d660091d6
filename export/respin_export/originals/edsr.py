"""Known calls of the original EDSR (sanghyun-son/EDSR-PyTorch)."""

from __future__ import annotations

from collections.abc import Iterator

from respin_export.originals.case import Case, channels_first
from respin_export.originals.reference import Reference

LAYOUT, BASELINE = "edsr/reduced", "edsr/baseline"


def cases(reference: Reference, network: str) -> Iterator[Case]:
    """Yield the known calls.

    Args:
        reference: a reference folder.
        network: name of the network.
    """
    yield case(reference, network, LAYOUT)


def case(reference: Reference, network: str, layout: str) -> Case:
    """Return the known call of one model: the paper's at reduced size, or the baseline."""
    known = reference.outputs(layout)
    height, width, _ = known["input_uint8"].shape
    image = channels_first(known["input_uint8"])
    return Case(network, f"{height} x {width} px", {"image": image}, {"upscaled": known["output"]})
