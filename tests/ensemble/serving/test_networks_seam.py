"""The networks seam: the same tests over BLS and over every runtime in process that runs here."""

import io

import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.contracts.networks import CLIP_VISION, EDSR, GROUNDING_DINO, VAE_DECODER, ZERO123_UNET
from respin.errors import ContractMismatch, InternalError
from respin.geometry import Box
from respin.model_set import ModelSet
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_ensemble.networks.torch_networks import TorchNetworks
from respin_ensemble.sampling import Guidance, SamplingParams, start
from respin_ensemble.stages.inpainting import InpaintParams, fill, text_contexts
from respin_ensemble.stages.novel_view import CameraProjection, encode_condition, turn
from respin_ensemble.stages.segmentation import object_mask
from respin_ensemble.stages.super_resolution import enlarge
from respin_export.example import example_inputs, example_lengths
from respin_export.served_modules import module_loader

pytestmark = pytest.mark.triton

MINI = bundled_path("models/mini")


class ProbedNetworks(BatchedNetworks):
    """Runs each network by BLS, from inside a test model on the server."""

    def __init__(self, triton_client):
        super().__init__(ModelSet.load(MINI).sizes)
        self.triton_client = triton_client

    def _run(self, spec, arrays):
        file = io.BytesIO()
        np.savez(file, **arrays)
        inputs = []
        for name, value in (("network", spec.name.encode()), ("arrays", file.getvalue())):
            inputs.append(triton.InferInput(name, [1], "BYTES"))
            inputs[-1].set_data_from_numpy(np.array([value], np.object_))
        answer = self.triton_client.infer("probe", inputs).as_numpy("arrays")[0]
        return dict(np.load(io.BytesIO(answer)))


@pytest.fixture(scope="session")
def in_process():
    return OnnxNetworks.from_set(MINI)


@pytest.fixture(scope="session")
def modules():
    return TorchNetworks.from_set(MINI, module_loader(MINI, "cpu", "fp32"), device="cpu", execution="eager")


@pytest.fixture(params=["onnxruntime", "torch", "by BLS"])
def networks(request, in_process):
    if request.param == "by BLS":
        return ProbedNetworks(request.getfixturevalue("cpu_triton_client"))
    return in_process if request.param == "onnxruntime" else request.getfixturevalue("modules")


def inputs_for(spec, networks, batch=1):
    sizes = networks.sizes
    return example_inputs(spec, sizes, batch=batch, lengths=example_lengths(spec, sizes))


def no_report(done, steps):
    pass


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def photo():
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


def same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_every_network_answers_by_its_contract(networks):
    arrays = inputs_for(EDSR, networks)
    upscaled = networks(EDSR, **arrays)["upscaled"]
    assert upscaled.shape[2:] == tuple(4 * side for side in arrays["image"].shape[2:])


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=lambda spec: spec.name)
def test_both_give_the_same_answer(networks, in_process, spec):
    arrays = inputs_for(spec, networks)
    wanted = in_process(spec, **arrays)
    for name, array in networks(spec, **arrays).items():
        finite = np.isfinite(wanted[name])
        np.testing.assert_array_equal(np.isfinite(array), finite)
        same(array[finite], wanted[name][finite])


def test_a_batch_beyond_the_contracts_is_split(networks):
    camera = noise(11, 4)
    context = networks(CLIP_VISION, image=noise(11, 3, 224, 224), camera=camera)["context"]
    assert context.shape == (11, 1, 768)


def test_company_in_a_batch_changes_nothing_beyond_float_noise(networks):
    arrays = inputs_for(ZERO123_UNET, networks, batch=4)
    together = networks(ZERO123_UNET, **arrays)["noise"]
    alone = networks(ZERO123_UNET, **{name: array[2:3] for name, array in arrays.items()})["noise"]
    same(together[2:3], alone)


def test_a_call_that_breaks_the_contract_is_refused_by_name(networks):
    with pytest.raises((ContractMismatch, InferenceServerException), match="'latents' has shape"):
        networks(VAE_DECODER, latents=noise(1, 4, 7, 8))


def test_a_network_that_fails_says_which(networks):
    # 900 candidates are not to be had of so small a picture: the graph itself fails.
    arrays = inputs_for(GROUNDING_DINO, networks)
    with pytest.raises((InternalError, InferenceServerException), match="grounding_dino failed"):
        networks(GROUNDING_DINO, **{**arrays, "image": noise(1, 3, 64, 64)})


def test_a_mask_is_the_same_over_both(networks, in_process):
    box = Box(10, 10, 90, 80)
    np.testing.assert_array_equal(object_mask(networks, photo(), box), object_mask(in_process, photo(), box))


def test_a_turn_is_the_same_over_both(networks, in_process):
    def turned(each):
        condition = encode_condition(each, np.full((each.sizes.view_side,) * 2 + (3,), 128, np.uint8))
        contexts = CameraProjection(each).contexts(condition, [(80, 0), (-40, 10)])
        sampling = SamplingParams("ddim", 3, Guidance(3.0), eta=1.0)
        with StepBatchers(each) as batchers:
            return dict(turn(each, batchers.run, condition, contexts, sampling=sampling, seed=1, on_step=no_report))

    ours, theirs = turned(networks), turned(in_process)
    assert sorted(ours) == sorted(theirs) == [0, 1]
    # A value that is cut off to uint8 may fall to either side.
    assert max(np.abs(ours[view].astype(int) - theirs[view]).max() for view in ours) <= 1


def test_a_background_is_the_same_over_both(networks, in_process):
    hole = np.zeros((96, 128), np.bool_)
    hole[30:60, 40:80] = True
    params = InpaintParams("a table", "cup", SamplingParams("ddim", 2, Guidance(7.5)), grown_px=20, seed=1)

    def filled(each):
        contexts = text_contexts(each, "a table", "cup")
        with StepBatchers(each) as batchers:
            patch = fill(each, batchers.run, photo(), hole, params, contexts=contexts, on_step=no_report)
        return patch.paste_into(photo()).astype(int)

    assert np.abs(filled(networks) - filled(in_process)).max() <= 1


def test_latents_are_the_same_alone_and_in_a_mixed_batch_at_other_steps(networks):
    def sample(seed, steps):
        inputs = example_inputs(ZERO123_UNET, networks.sizes, batch=1, lengths={}, seed=seed)
        conditions = {name: inputs[name][0] for name in ("context", "image_latents")}
        params = SamplingParams("ddim", steps, Guidance(3.0), eta=1.0)
        generator = np.random.default_rng(seed)
        return start(params, inputs["latents"][0], conditions, family="zero123", generator=generator)

    def driven(samples):
        finished = {}
        with StepBatchers(networks) as batchers:
            for group in batchers.run(ZERO123_UNET, samples, no_report):
                finished.update(group)
        return finished

    alone = driven([sample(1, 10)])[0]
    together = driven([sample(1, 10), *(sample(seed, 4 + 2 * seed) for seed in range(2, 9))])[0]
    assert np.linalg.norm(together - alone) <= 1e-4 * np.linalg.norm(alone)


def test_a_view_is_enlarged_the_same_over_both(networks, in_process):
    view = photo()
    assert np.abs(enlarge(networks, view).astype(int) - enlarge(in_process, view)).max() <= 1
