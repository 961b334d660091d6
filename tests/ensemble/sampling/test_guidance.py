"""Guidance: in which steps it is asked for, and that none of it leaves the conditional prediction."""

import numpy as np
import pytest
import torch

from respin.bundled import bundled
from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_ensemble.sampling import Guidance, SamplingParams, apply_guidance, start
from respin_export.mini.networks import build


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def told(guidance, steps=10, sampler="unipc_karras", family="inpainting"):
    """The guidance that a trajectory asks for at each step."""
    generator = np.random.default_rng(0)
    params = SamplingParams(sampler, steps, guidance, eta=1.0)
    trajectory = start(params, noise(0, 4, 8, 8), {}, family=family, generator=generator).trajectory
    scales, asked = [], next(trajectory)
    while True:
        scales.append(asked.guidance)
        try:
            asked = trajectory.send(asked.latents)
        except StopIteration:
            return scales


@pytest.mark.parametrize(
    ("start", "end", "guided_steps"),
    [(0, 1, range(10)), (0.3, 1, range(3, 10)), (0, 0.6, range(6)), (0.25, 0.75, range(3, 8)), (0.5, 0.5, ())],
)
def test_only_steps_within_the_interval_are_guided(start, end, guided_steps):
    assert told(Guidance(7.5, start, end)) == [7.5 if step in guided_steps else 1.0 for step in range(10)]


def test_shares_are_of_the_steps_that_run():
    assert told(Guidance(3.0, 0.5), steps=75, sampler="ddim", family="zero123") == [1.0] * 38 + [3.0] * 38


def test_what_is_asked_and_returned_is_the_samplers_own():
    def sampler():
        first = yield noise(1, 4), 7.5
        second = yield first + 1, 2.0
        return second * 2

    trajectory = apply_guidance(sampler(), Guidance(4.0), 2)
    latents, timestep, _ = next(trajectory)
    np.testing.assert_array_equal(latents, noise(1, 4))
    assert timestep == 7.5
    np.testing.assert_array_equal(trajectory.send(noise(2, 4)).latents, noise(2, 4) + 1)
    with pytest.raises(StopIteration) as end:
        trajectory.send(noise(3, 4))
    np.testing.assert_array_equal(end.value.value, noise(3, 4) * 2)


@pytest.fixture(scope="module")
def networks():
    return OnnxNetworks.from_set(bundled("models/mini"))


def zero123(networks, guidance):
    """The guided prediction of the graph, and the conditional half alone by the plain UNet."""
    latents, image, context = noise(1, 1, 4, 32, 32), noise(2, 1, 4, 32, 32), noise(3, 1, 1, 768)
    ours = networks(
        ZERO123_UNET,
        latents=latents,
        timestep=np.array([[601.0]], np.float32),
        context=context,
        image_latents=image,
        guidance=np.array([[guidance]], np.float32),
    )["noise"]
    stacked = torch.from_numpy(np.concatenate([latents, image], 1))
    return ours, build("zero123_unet").unet(stacked, 601.0, torch.from_numpy(context)).sample


def inpainting(networks, guidance):
    latents, masked, contexts = noise(1, 1, 4, 8, 8), noise(2, 1, 4, 8, 8), noise(3, 1, 2, 77, 768)
    mask = (noise(4, 1, 1, 8, 8) > 0).astype(np.float32)
    ours = networks(
        INPAINT_UNET,
        latents=latents,
        timestep=np.array([[601.0]], np.float32),
        contexts=contexts,
        mask=mask,
        masked_image_latents=masked,
        guidance=np.array([[guidance]], np.float32),
    )["noise"]
    stacked = torch.from_numpy(np.concatenate([latents, mask, masked], 1))
    return ours, build("inpaint_unet").unet(stacked, 601.0, torch.from_numpy(contexts[:, 0])).sample


@pytest.mark.parametrize("unet", [zero123, inpainting])
@torch.no_grad()
def test_guidance_of_one_is_the_conditional_half_alone(networks, unet):
    ours, alone = unet(networks, 1.0)
    assert np.abs(ours - alone.numpy()).max() <= 1e-5 * np.abs(ours).max()
    guided_more, _ = unet(networks, 1.1)
    assert np.abs(guided_more - alone.numpy()).max() > 1e-4 * np.abs(ours).max()
