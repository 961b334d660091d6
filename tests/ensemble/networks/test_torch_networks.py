"""Networks as PyTorch modules: the same answers as ONNX Runtime's, and what torch.compile's minutes are spent on."""

import json

import numpy as np
import pytest
import torch

from respin.bundled import bundled
from respin.contracts import NETWORKS
from respin.contracts.networks import EDSR, VAE_DECODER
from respin.errors import ContractMismatch, InvalidInput
from respin.lengths import lengths_in_jobs
from respin.model_set import MANIFEST, ModelSet, Sizes
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_ensemble.networks.tensorrt import TensorRtNetworks
from respin_ensemble.networks.torch_calls import CompiledCall
from respin_ensemble.networks.torch_compile import compile_tasks
from respin_ensemble.networks.torch_networks import COMPILED, TorchNetworks
from respin_export.inference_modules import InferenceModules
from respin_export.mini.trained import MiniSet

MINI = bundled("models/mini")
NO_GPU = "PyTorch sees no NVIDIA GPU here; use --device cpu"
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


def mini_modules():
    return InferenceModules(MiniSet(), device="cpu", half=False)


@pytest.mark.parametrize("execution", ["eager", "graphs"])
def test_modules_of_a_set_answer_as_its_graphs(execution):
    networks = TorchNetworks.from_set(MINI, mini_modules(), device="cpu", execution=execution)
    wanted = OnnxNetworks.from_set(MINI)
    assert networks.sizes == wanted.sizes
    picture = np.random.default_rng(0).uniform(0, 255, (2, 3, 32, 48)).astype(np.float32)
    for _ in range(3):  # the third call would replay a graph
        got = networks(EDSR, image=picture)["upscaled"]
    np.testing.assert_allclose(got, wanted(EDSR, image=picture)["upscaled"], rtol=1e-3, atol=0.1)


@without_gpu
def test_a_missing_gpu_is_told_before_anything_is_loaded():
    def load(name):
        raise AssertionError(name)

    with pytest.raises(InvalidInput, match=NO_GPU):
        TorchNetworks.from_set(MINI, load, device="cuda")


def test_a_folder_without_a_manifest_is_no_set(tmp_path):
    with pytest.raises(ContractMismatch):
        TorchNetworks.from_set(tmp_path, mini_modules(), device="cpu")


def test_engine_plans_run_only_on_a_gpu():
    with pytest.raises(InvalidInput, match="TensorRT runs only on an NVIDIA GPU; use --device cuda"):
        TensorRtNetworks.from_set(MINI, device="cpu")


def test_a_set_of_graphs_has_no_engine_plans():
    with pytest.raises(ContractMismatch, match="set 'mini' has no engine plans; build them with respin engines"):
        TensorRtNetworks.from_set(MINI)


@pytest.fixture
def plans(tmp_path):
    """A set whose manifest says that a TensorRT which is not installed built its plans."""
    manifest = json.loads((MINI / MANIFEST).read_text())
    manifest["origin"] = {"engines": {"edsr": {"identity": {"flavour": "tensorrt_of_tomorrow"}}}}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert ModelSet.load(tmp_path).name == "mini"
    return tmp_path


def test_plans_of_a_tensorrt_that_is_not_installed_are_told_with_the_cure(plans):
    with pytest.raises(InvalidInput, match="the engine plans are of tensorrt_of_tomorrow, which does not load here"):
        TensorRtNetworks.from_set(plans)


def test_there_is_a_compilation_for_every_batch_and_shape_that_is_worth_one():
    tasks = compile_tasks(mini_modules(), Sizes(), lambda name, batch, lengths: {})
    assert {task.name for task in tasks.values()} == set(COMPILED)
    assert len(tasks) == sum(len(COMPILED[name]) * len(lengths_in_jobs(name, Sizes())) for name in COMPILED)
    assert f"{VAE_DECODER.name} x 1 latent_height 32 latent_width 32" in tasks


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, as its compiler is imported
def test_two_shapes_of_a_chosen_batch_are_compiled_and_others_go_without():
    module = torch.nn.Identity()
    runner = CompiledCall(module, NETWORKS["vae_decoder"], "cpu", batches=(1,))
    shapes = [((1, 4, side, side),) for side in (64, 32, 16)]
    chosen = [runner.forward_for(shape) is not module for shape in shapes]
    assert chosen == [True, True, False]
    assert runner.forward_for(shapes[0]) is not module
    assert runner.forward_for(((8, 4, 64, 64),)) is module


@pytest.mark.parametrize(
    ("name", "met"),
    [
        ("edsr", [{}]),
        ("grounding_dino", [{}, {"height": 800, "width": 800}]),
        ("vae_encoder", [{}, {"height": 256, "width": 256}]),
        ("vae_decoder", [{}, {"latent_height": 32, "latent_width": 32}]),
    ],
)
def test_what_is_compiled_beforehand_is_what_a_job_of_a_square_photo_brings(name, met):
    assert name in COMPILED
    assert lengths_in_jobs(name, Sizes()) == met
