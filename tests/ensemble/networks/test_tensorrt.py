"""An engine as a PyTorch module, run by a stand-in for TensorRT that computes with ONNX Runtime on the CPU."""

import ctypes
import math
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from guided_graphs import MODULES, export_stub

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.contracts.networks import UNETS
from respin.errors import InternalError
from respin.onnx_runtime import onnxruntime
from respin_ensemble.networks.tensorrt import EnginePlan, TensorRtNetworks
from respin_export.example import example_inputs, example_lengths
from respin_export.graph import takes_fewer_guidance
from respin_export.mini.sizes import SIZES
from respin_export.optimization_profile import optimization_profile
from respin_export.parity import compare_fp32, graph_outputs

SCRATCH = 4096


class Context:
    """Reads and writes the memory that it is told, as TensorRT does."""

    def __init__(self, spec, graph):
        self.spec, self.session = spec, onnxruntime.InferenceSession(graph)
        self.profile = optimization_profile(spec, SIZES, fewer_guidance=takes_fewer_guidance(Path(graph)))
        self.shapes, self.addresses, self.scratch, self.works = {}, {}, None, True

    def set_input_shape(self, name, shape):
        least, _, greatest = self.profile[name]
        self.shapes[name] = shape
        return all(low <= length <= high for low, length, high in zip(least, shape, greatest, strict=True))

    def update_device_memory_size_for_shapes(self):
        return SCRATCH * next(iter(self.shapes.values()))[0]

    def set_device_memory(self, address, size):
        self.scratch = (address, size)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def get_tensor_shape(self, name):
        self.answers = dict(zip((t.name for t in self.spec.outputs), self.session.run(None, self.read()), strict=True))
        return self.answers[name].shape

    def read(self):
        found = {}
        for tensor in self.spec.inputs:
            shape, dtype = self.shapes[tensor.name], np.dtype(tensor.dtype.numpy)
            assert self.addresses[tensor.name], "TensorRT refuses a null address"
            raw = ctypes.string_at(self.addresses[tensor.name], math.prod(shape) * dtype.itemsize)
            found[tensor.name] = np.frombuffer(raw, dtype).reshape(shape)
        return found

    def execute_async_v3(self, stream):
        for name, answer in self.answers.items():
            ctypes.memmove(self.addresses[name], np.ascontiguousarray(answer).ctypes.data, answer.nbytes)
        return self.works and self.scratch[1] >= self.update_device_memory_size_for_shapes()


class TensorRT:
    """Of the container's flavour; an engine's file holds the path of its graph."""

    __version__ = "10.5.0"
    ILogger = object
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")

    def __init__(self, spec):
        self.spec, self.asked = spec, []

    class Logger:
        ERROR = 1

        def __init__(self, severity):
            pass

    def Runtime(self, logger):
        return SimpleNamespace(deserialize_cuda_engine=self._engine)

    def _engine(self, file):
        if file == b"of another GPU":
            return None
        self.context = Context(self.spec, file.decode())
        return SimpleNamespace(
            create_execution_context=self._create,
            create_runtime_config=RuntimeConfig,
            get_tensor_profile_shape=lambda name, _: self.context.profile[name],
        )

    def _create(self, how):
        self.asked.append(how)
        return self.context


class RuntimeConfig:
    def set_execution_context_allocation_strategy(self, strategy):
        self.allocation = strategy


def opened(tmp_path, name, trt=None):
    spec, engine = NETWORKS[name], tmp_path / "model.plan"
    engine.write_text(str(bundled_path("models/mini") / name / "model.onnx"))
    trt = trt or TensorRT(spec)
    return EnginePlan(trt, engine, spec, device="cpu"), trt


def inputs_of(name, batch=1):
    spec = NETWORKS[name]
    # No longer than what a job of the set sends, which is what its engines are built for.
    return example_inputs(spec, SIZES, batch=batch, lengths=example_lengths(spec, SIZES, (0.3, 0.2)), seed=1)


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize("name", ["edsr", "zero123_unet", "clip_text", "sam_decoder"])
def test_an_engine_answers_as_its_graph_in_memory_of_the_right_size(tmp_path, name):
    module, trt = opened(tmp_path, name)
    for batch in (NETWORKS[name].max_batch_size, 1):
        inputs = inputs_of(name, batch)
        outputs = module(**tensors(inputs))
        wanted = graph_outputs(bundled_path("models/mini") / name / "model.onnx", NETWORKS[name], inputs)
        compare_fp32(NETWORKS[name], [output.numpy() for output in outputs], wanted)
        assert trt.context.scratch[1] == SCRATCH * batch


def test_an_engine_of_another_gpu_is_refused_with_the_cure(tmp_path):
    (tmp_path / "model.plan").write_bytes(b"of another GPU")
    with pytest.raises(InternalError, match=r"edsr: TensorRT 10.5.0 cannot load model.plan .*build it here"):
        EnginePlan(TensorRT(NETWORKS["edsr"]), tmp_path / "model.plan", NETWORKS["edsr"], device="cpu")


def test_a_batch_that_the_engine_was_not_built_for_is_refused_and_the_next_is_not(tmp_path):
    module, _ = opened(tmp_path, "zero123_unet")
    with pytest.raises(InternalError, match=r"zero123_unet: latents has the shape \(99, .*was not built"):
        module(**tensors(inputs_of("zero123_unet", 99)))
    assert len(module(**tensors(inputs_of("zero123_unet", 2)))[0]) == 2


def test_a_call_that_fails_is_told(tmp_path):
    module, trt = opened(tmp_path, "edsr")
    trt.context.works = False
    with pytest.raises(RuntimeError, match="edsr: TensorRT could not run the engine"):
        module(**tensors(inputs_of("edsr")))


def test_without_room_for_a_context_it_is_told(tmp_path):
    trt = TensorRT(NETWORKS["edsr"])
    trt._create = lambda how: None
    with pytest.raises(InternalError, match=r"edsr: TensorRT has no context for model\.plan; most often, GPU memory"):
        opened(tmp_path, "edsr", trt)


def test_rtx_makes_its_kernels_before_a_graph_captures_them(tmp_path):
    trt = TensorRT(NETWORKS["edsr"])
    trt.DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
    opened(tmp_path, "edsr", trt)
    (config,) = trt.asked
    assert (config.allocation, config.dynamic_shapes_kernel_specialization_strategy) == ("user managed", "eager")


def test_an_engine_that_gave_its_memory_up_answers_as_before_once_it_is_loaded_again(tmp_path):
    module, trt = opened(tmp_path, "edsr")
    inputs = tensors(inputs_of("edsr"))
    wanted = module(**inputs)[0]
    context = weakref.ref(trt.context)
    module.unload()
    trt.context = None
    assert context() is None
    module.load()
    torch.testing.assert_close(module(**inputs)[0], wanted, rtol=0, atol=0)


def test_an_engine_that_is_to_be_loaded_later_is_not_loaded_now(tmp_path):
    trt = TensorRT(NETWORKS["edsr"])
    (tmp_path / "model.plan").write_text(str(bundled_path("models/mini") / "edsr" / "model.onnx"))
    module = EnginePlan(trt, tmp_path / "model.plan", NETWORKS["edsr"], device="cpu", loaded=False)
    assert trt.asked == []
    module.load()
    assert len(module(**tensors(inputs_of("edsr")))) == 1


@pytest.mark.parametrize("name", UNETS)
def test_an_engine_runs_without_the_unconditional_half_where_no_sample_is_guided(tmp_path, name):
    plan, spec = tmp_path / "model.plan", NETWORKS[name]
    plan.write_text(str(export_stub(tmp_path, name)))
    module = EnginePlan(trt := TensorRT(spec), plan, spec, device="cpu")
    assert module.may_be_unguided
    networks = TensorRtNetworks({name: module}, SIZES, device="cpu", execution="eager")
    for scales, rows in (((1, 1), 0), ((1, 3), 2), ((1, 1), 0)):
        arrays = {**inputs_of(name, 2), "guidance": np.array(scales, np.float32)[:, None]}
        noise = networks(spec, **arrays)["noise"]
        assert trt.context.shapes["guidance"] == (rows, 1)
        wanted = MODULES[name](**tensors(arrays))
        torch.testing.assert_close(torch.tensor(noise), wanted, rtol=1e-5, atol=1e-5)


def test_an_engine_of_an_older_export_gets_every_scale(tmp_path):
    module, trt = opened(tmp_path, "zero123_unet")
    assert not module.may_be_unguided
    networks = TensorRtNetworks({"zero123_unet": module}, SIZES, device="cpu", execution="eager")
    networks(NETWORKS["zero123_unet"], **{**inputs_of("zero123_unet", 2), "guidance": np.ones((2, 1), np.float32)})
    assert trt.context.shapes["guidance"] == (2, 1)
