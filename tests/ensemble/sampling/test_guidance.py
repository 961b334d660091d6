"""Guidance: in which steps it is asked for, and that none of it leaves the conditional prediction."""

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from respin_ensemble.sampling import Guidance, SamplingParams, apply_guidance, start
from respin_export.networks.unet import InpaintUNet, Zero123UNet


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


def library_unet(channels):
    torch.manual_seed(0)
    return UNet2DConditionModel(
        in_channels=channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=768,
    ).eval()


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


def zero123(guidance):
    """The guided prediction of the network, and the conditional half alone by the plain UNet."""
    unet = library_unet(8)
    latents, image, context = tensors(noise(1, 1, 4, 8, 8), noise(2, 1, 4, 8, 8), noise(3, 1, 1, 768))
    ours = Zero123UNet(unet)(latents, torch.tensor([[601.0]]), context, image, torch.tensor([[guidance]]))
    return ours, unet(torch.cat([latents, image], 1), 601.0, context).sample


def inpainting(guidance):
    unet = library_unet(9)
    latents, masked, contexts = tensors(noise(1, 1, 4, 8, 8), noise(2, 1, 4, 8, 8), noise(3, 1, 2, 77, 768))
    mask = torch.from_numpy((noise(4, 1, 1, 8, 8) > 0).astype(np.float32))
    ours = InpaintUNet(unet)(latents, torch.tensor([[601.0]]), contexts, mask, masked, torch.tensor([[guidance]]))
    return ours, unet(torch.cat([latents, mask, masked], 1), 601.0, contexts[:, 0]).sample


@pytest.mark.parametrize("network", [zero123, inpainting])
@torch.no_grad()
def test_guidance_of_one_is_the_conditional_half_alone(network):
    ours, alone = network(1.0)
    assert (ours - alone).abs().max() <= 1e-5 * ours.abs().max()
    guided_more, _ = network(1.1)
    assert (guided_more - alone).abs().max() > 1e-4 * ours.abs().max()
