"""How near a whole job comes to what the machine could do at best: the sum of the limits of its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from respin_benchmarks.in_process.rows import NetworkRun
from respin_ensemble.sampling.noise_schedules import zero123_schedule

CALLS = {
    "sam_encoder": 2,
    "sam_decoder": 2,
    "clip_vision": 1,
    "clip_text": 1,
    "edsr": 1,
}
"""What a job of one view calls beside the UNets, GroundingDINO and the VAE: photo and view are both segmented."""


def job_limit_ms(runs: Sequence[NetworkRun], *, steps: int, background_steps: int) -> tuple[float, float] | None:
    """The least time of one job whose box is given, and of its UNets alone, ms; None where a network is missing.

    Args:
        runs: of single networks, from one machine.
        steps: of Zero123, by DDIM.
        background_steps: of the inpainting.
    """
    usual: dict[str, NetworkRun] = {}
    for run in sorted(runs, key=lambda run: run.batch):
        usual.setdefault(run.network, run)
    unets = {"zero123_unet": len(zero123_schedule(steps)), "inpaint_unet": background_steps}
    if not {*CALLS, *unets, "grounding_dino", "vae_encoder", "vae_decoder"} <= set(usual):
        return None
    # The VAE works on the photo and on the view, GroundingDINO on the view, which is square.
    whole = 1 + _area(usual["edsr"]) / _area(usual["vae_encoder"])
    height, width = _sides(usual["grounding_dino"])
    others = {**CALLS, "vae_encoder": whole, "vae_decoder": whole, "grounding_dino": height / width}
    return _sum(usual, unets | others), _sum(usual, unets)


def _sum(usual: Mapping[str, NetworkRun], calls: Mapping[str, float]) -> float:
    return sum(usual[name].floor_ms * count for name, count in calls.items())


def _sides(run: NetworkRun) -> tuple[int, int]:
    """Height and width of a network's first input: "3x800x1066 256 ..."."""
    _, height, width = (int(length) for length in run.shapes.split()[0].split("x"))
    return height, width


def _area(run: NetworkRun) -> int:
    height, width = _sides(run)
    return height * width
