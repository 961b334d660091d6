"""The whole job against the same job written by hand in PyTorch and diffusers: same weights, same noise, FP32."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from respin.bundled import bundled_path
from respin.request import RotationRequest
from respin_benchmarks.baseline.pipeline import Baseline
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_ensemble.pipeline.context import JobContext
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.pipeline.scene import segment_view
from respin_ensemble.stages.novel_view import CameraProjection
from respin_export.mini.trained import MiniSet

STEPS = 12


class WatchedNetworks(OnnxNetworks):
    """Keeps the latents that each UNet was given, step by step."""

    def _run(self, spec, arrays):
        if "timestep" in arrays:
            self.latents.setdefault(spec.name, []).append(arrays["latents"][0])
        return super()._run(spec, arrays)


@pytest.fixture(scope="module")
def networks():
    watched = WatchedNetworks.from_set(bundled_path("models/mini"))
    watched.latents = {}
    return watched


@pytest.fixture(scope="module")
def request_for_cup():
    photo = (bundled_path("examples") / "coffee.png").read_bytes()
    box = (165.0, 12.0, 428.0, 312.0)
    return RotationRequest(photo, "coffee cup", (80.0,), (-10.0,), box=box, seed=3, steps=STEPS, background_steps=STEPS)


@pytest.fixture(scope="module")
def ours(networks, request_for_cup):
    made = {}
    with ThreadPoolExecutor(1) as executor, StepBatchers(networks) as batchers:
        context = JobContext(networks, batchers, executor, CameraProjection(networks))
        rotate_object(context, request_for_cup, lambda event: made.update(event.results))
    return {name: make() for name, make in made.items()}


@pytest.fixture(scope="module")
def plain(ours, networks, request_for_cup):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    latents = {}
    pipeline = Baseline(MiniSet(), watch=lambda unet, seen: latents.setdefault(unet, []).append(seen.numpy().copy()))
    photo = pixels(request_for_cup.image)
    # Untrained, the detector is sure of every box: a grey level of difference in the view makes it choose another.
    # So both cut the view out by the same mask.
    mask, _ = segment_view(networks, pixels(ours["novel_view"]), request_for_cup)
    made = pipeline(request_for_cup, photo, view_mask=mask)
    torch.set_num_threads(before)
    return made, latents


def pixels(encoded):
    return np.asarray(Image.open(BytesIO(encoded)))


def psnr(one, other):
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("unet", ["zero123_unet", "inpaint_unet"])
def test_the_latents_are_the_same_at_every_step(ours, plain, networks, unet):
    # diffusers also tells the latents after the last step, which no UNet sees.
    pairs = list(zip(networks.latents[unet], plain[1][unet], strict=False))
    assert len(pairs) == len(networks.latents[unet]) >= STEPS
    worst = max(np.abs(one - other).max() / np.abs(other).max() for one, other in pairs)
    assert worst <= 1e-4


@pytest.mark.parametrize("picture", ["image", "novel_view", "background"])
def test_every_picture_is_the_same(ours, plain, picture):
    assert psnr(pixels(ours[picture]), plain[0][picture]) >= 40
