"""The samples that are driven: payloads of the contracts' usual sizes, which are the published weights'; DDIM."""

from __future__ import annotations

from typing import Literal

import numpy as np

from respin.bundled import bundled
from respin.contracts.networks import ZERO123_UNET
from respin.model_set import ModelSet
from respin.specs import Axis, ModelSpec
from respin_ensemble.sampling import Guidance, Sample, SamplingParams, start

ASKED = ("latents", "timestep", "guidance")
"""What a trajectory says at each step; a UNet's other inputs are conditions."""


def sample_for(unet: ModelSpec, steps: int, seed: int) -> Sample:
    """One sample of a UNet, with random conditions.

    Args:
        unet: a UNet's contract.
        steps: asked of the sampler, which may run another number (`zero123_schedule`).
        seed: of noise and conditions.
    """
    generator = np.random.default_rng(seed)
    sizes = ModelSet.load(bundled("models/mini")).sizes
    shapes = {
        each.name: tuple(length.usual if isinstance(length, Axis) else length for length in sizes.shape(each.shape))
        for each in unet.inputs
    }
    # As a job's defaults: DDIM adds noise back to a view and none to a background.
    views = unet.name == ZERO123_UNET.name
    family: Literal["zero123", "inpainting"] = "zero123" if views else "inpainting"
    noise = generator.standard_normal(shapes["latents"], np.float32)
    params = SamplingParams("ddim", steps, Guidance(3.0), eta=float(views))
    conditions = {
        name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items() if name not in ASKED
    }
    return start(params, noise, conditions, family=family, generator=generator)
