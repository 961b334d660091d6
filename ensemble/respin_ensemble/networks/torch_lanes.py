"""Which networks run at the same time on a GPU, and which share a stream and scratch memory, one after another."""

from __future__ import annotations

from collections.abc import Callable

import torch

from respin.contracts import NETWORKS
from respin.contracts.networks import GROUNDING_DINO, INPAINT_UNET, UNETS
from respin.gpu_memory import MIB
from respin.runtimes import InProcess
from respin_ensemble.networks.torch_graph import Lane

ROOM_MIB = 16384
"""Free GPU memory from which GroundingDINO has scratch memory of its own, 1.1 GB, and runs beside the others. Its many
small kernels use 4 % of an H200, and it is half of the time that finishing a view takes."""


def has_room(choice: InProcess, free_bytes: Callable[[], int] = lambda: torch.cuda.mem_get_info()[0]) -> bool:
    """Return whether GroundingDINO may have scratch memory of its own.

    Args:
        choice: runtime, device and limit of GPU memory; a limit is kept with as little as possible.
        free_bytes: returns the free memory of the GPU.
    """
    return choice.device == "cuda" and not choice.gpu_memory_mib and free_bytes() >= ROOM_MIB * MIB


def group_by_lane(*, roomy: bool) -> list[list[str]]:
    """Return the networks by lane: the UNets alone, GroundingDINO as well if there is room, and the rest together.

    Args:
        roomy: see `has_room`.
    """
    alone = [*UNETS, *([GROUNDING_DINO.name] if roomy else [])]
    return [*([name] for name in alone), [name for name in NETWORKS if name not in alone]]


def make_lanes(device: str, *, roomy: bool) -> dict[str, Lane]:
    """Return the lane of each network; all but the background's go first on the GPU.

    Args:
        device: "cpu" or "cuda".
        roomy: see `has_room`.
    """
    return {
        name: lane
        for names in group_by_lane(roomy=roomy)
        for lane in [Lane(device, urgent=names != [INPAINT_UNET.name])]
        for name in names
    }
