"""Optimisation profiles: the shapes that TensorRT builds for."""

import pytest

from respin.contracts import NETWORKS
from respin.contracts.networks import EDSR, GROUNDING_DINO, INPAINT_UNET, SAM_DECODER, VAE_DECODER, ZERO123_UNET
from respin.model_set import Sizes
from respin_export.example import example_inputs, example_lengths
from respin_export.optimization_profile import optimization_profile

FULL = Sizes()


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=lambda spec: spec.name)
def test_every_input_has_three_shapes_in_rising_order(spec):
    profile = optimization_profile(spec, FULL)
    assert list(profile) == [tensor.name for tensor in spec.inputs]
    for least, usual, greatest in profile.values():
        assert len(least) == len(usual) == len(greatest)
        assert all(low <= middle <= high for low, middle, high in zip(least, usual, greatest, strict=True))


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=lambda spec: spec.name)
def test_the_inputs_that_are_traced_lie_within(spec):
    inputs = example_inputs(spec, FULL, batch=1, lengths=example_lengths(spec, FULL))
    for name, (least, _, greatest) in optimization_profile(spec, FULL).items():
        shape = inputs[name].shape
        assert all(low <= length <= high for low, length, high in zip(least, shape, greatest, strict=True))


def test_what_the_set_fixes_is_fixed_and_the_rest_is_free():
    assert optimization_profile(ZERO123_UNET, FULL)["latents"] == ((1, 4, 32, 32), (4, 4, 32, 32), (8, 4, 32, 32))
    assert optimization_profile(INPAINT_UNET, FULL)["mask"] == ((1, 1, 8, 8), (2, 1, 64, 64), (4, 1, 64, 64))
    small = optimization_profile(SAM_DECODER, Sizes(sam_side=256))
    assert small["embedding"][1] == (1, 256, 16, 16)


def test_an_engine_is_laid_out_for_no_more_than_jobs_with_the_set_send():
    assert optimization_profile(EDSR, FULL)["image"] == ((1, 3, 32, 32), (1, 3, 256, 256), (1, 3, 256, 256))
    assert optimization_profile(VAE_DECODER, FULL)["latents"][2] == (1, 4, 64, 64)
    # A side of 700 is padded to 704; the contract ends at 768.
    for side, longest in ((320, 40), (700, 88), (2000, 96)):
        assert optimization_profile(INPAINT_UNET, Sizes(inpaint_side=side))["mask"][2] == (4, 1, longest, longest)
    small = optimization_profile(GROUNDING_DINO, Sizes(detection_long_side=667))["image"]
    assert small == ((1, 3, 64, 64), (1, 3, 667, 667), (1, 3, 667, 667))


def test_a_graph_that_takes_less_guidance_than_samples_is_built_for_none():
    least, usual, greatest = optimization_profile(ZERO123_UNET, FULL, fewer_guidance=True)["guidance"]
    assert (least, usual, greatest) == ((0, 1), (4, 1), (8, 1))
    assert optimization_profile(ZERO123_UNET, FULL)["guidance"][0] == (1, 1)
