"""What only a GPU can show. `make gpu-check` runs these; without a GPU it says so and fails."""

from __future__ import annotations

import importlib

import pytest
import torch
from random_networks import build

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.gpu_memory import CONTEXT_MIB, shared_need
from respin.model_set import ModelSet
from respin.onnx_runtime import onnxruntime
from respin.runtimes import InProcess
from respin_ensemble.networks.in_process import Source, load_networks
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_ensemble.networks.tensorrt import EnginePlan
from respin_export.example import example_inputs, example_lengths
from respin_export.half_parity import inputs_without_amplification, relative_l2
from respin_export.mini.sizes import SIZES
from respin_export.optimization_profile import optimization_profile
from respin_export.parity import compare_fp32, graph_outputs
from respin_export.tensorrt.builder import EngineOptions, EngineTask, build_engine
from respin_export.tensorrt.flavours import Library, device_capability, target_capabilities
from respin_export.to_onnx import ExportOptions, export_network

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("a_gpu")]

FLOAT16_GPU = 3e-3
"""Relative L2, the gate of FP16: on a GPU sums are in float16 or float32, as its kernels please."""


@pytest.fixture(scope="session")
def a_gpu():
    if device_capability() is None:
        pytest.exit("gpu-check: no NVIDIA GPU is to be seen here; run it on a machine that has one", returncode=2)


def inputs_of(spec):
    lengths, batch = example_lengths(spec, SIZES), min(2, spec.max_batch_size)
    return inputs_without_amplification(example_inputs(spec, SIZES, batch=batch, lengths=lengths, seed=1))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_equals_its_module_on_the_gpu(tmp_path, name):
    errors = export_network(build(name), NETWORKS[name], SIZES, tmp_path / "model.onnx", ExportOptions(device="cuda"))
    assert errors


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "grounding_dino"])
def test_an_fp16_graph_on_the_gpu_is_near_its_float32_module(tmp_path, name):
    assert "CUDAExecutionProvider" in onnxruntime.get_available_providers(), "pip install onnxruntime-gpu"
    spec, path, inputs = NETWORKS[name], tmp_path / "model.onnx", inputs_of(NETWORKS[name])
    export_network(build(name), spec, SIZES, path, ExportOptions(precision="fp16"))
    session = onnxruntime.InferenceSession(path, providers=["CUDAExecutionProvider"])
    got = session.run([tensor.name for tensor in spec.outputs], inputs)
    wanted = graph_outputs(bundled_path("models/mini") / name / "model.onnx", spec, inputs)
    assert max(map(relative_l2, got, wanted)) <= FLOAT16_GPU


@pytest.mark.parametrize("name", ["edsr", "zero123_unet", "sam_decoder", "clip_text"])
def test_an_engine_computes_what_its_graph_does(tmp_path, name):
    spec, graph = NETWORKS[name], bundled_path("models/mini") / name / "model.onnx"
    library = Library.installed()
    trt, engine = importlib.import_module(library.flavour), tmp_path / "model.plan"
    options = EngineOptions(library, target_capabilities(library, [], device_capability()))
    profile = optimization_profile(spec, SIZES)
    build_engine(trt, EngineTask(name, graph, profile, engine, options), lambda *_: None)
    inputs = inputs_of(spec)
    compare_fp32(spec, engine_outputs(trt, engine, spec, inputs), graph_outputs(graph, spec, inputs))


def engine_outputs(trt, path, spec, inputs):
    outputs = EnginePlan(trt, path, spec)(**{name: torch.from_numpy(array).cuda() for name, array in inputs.items()})
    torch.cuda.synchronize()
    return [output.cpu().numpy() for output in outputs]


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_networks_that_share_memory_answer_as_those_that_have_enough_and_keep_to_it(tmp_path, runtime):
    mini, manifest = bundled_path("models/mini"), ModelSet.load(bundled_path("models/mini"))
    for name in NETWORKS:
        (tmp_path / "networks" / name).mkdir(parents=True)
        (tmp_path / "networks" / name / "model.onnx").symlink_to(mini / name / "model.onnx")
    (tmp_path / "weights").symlink_to(mini)
    budget_mib = shared_need(runtime, manifest, 1, unets_stay=False).total_mib

    def load(mib):
        choice = InProcess(runtime, "cuda", gpu_memory_mib=mib)
        return load_networks(Source(tmp_path, manifest, choice, unet_batch=1), lambda step: None).networks

    shared = load(budget_mib)
    held = torch.cuda.memory_reserved()
    enough = OnnxNetworks.from_set(mini)
    for spec in NETWORKS.values():
        inputs = example_inputs(spec, SIZES, batch=1, lengths=example_lengths(spec, SIZES), seed=1)
        answers = shared(spec, **inputs)
        compare_fp32(spec, list(answers.values()), list(enough(spec, **inputs).values()))
    assert held <= (budget_mib - CONTEXT_MIB) * 2**20
