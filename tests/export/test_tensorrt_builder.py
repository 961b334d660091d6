"""Building one engine: the options passed to TensorRT, and the errors made from its messages."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import onnx
import pytest
from fake_tensorrt import KERNEL_TIMES, FakeTensorRT
from markers import rtx
from onnx import TensorProto, helper

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import InternalError, InvalidInput
from respin.model_set import ModelSet
from respin_export.errors import BuildFailed, ProcessKilled
from respin_export.optimization_profile import optimization_profile
from respin_export.tensorrt.builder import EngineOptions, EngineTask, build_engine, build_in_own_process
from respin_export.tensorrt.flavours import Library

SHAPES = ((1, 4), (2, 4), (8, 4))


def nothing(*progress):
    pass


def options_of(flavour, **options):
    return EngineOptions(Library(flavour, "1.0"), **options)


@pytest.fixture
def task(tmp_path):
    def make(graph=Path("model.onnx"), flavour="tensorrt", profile=None, **options):
        profile = profile or {"image": SHAPES}
        return EngineTask("tiny", graph, profile, tmp_path / "model.plan", options_of(flavour, **options))

    return make


@pytest.fixture
def graph(tmp_path):
    """A graph of one node: image (batch, 4) float32 in, `result` out."""

    def make(*nodes, weights=()):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4])
        result = helper.make_tensor_value_info("result", TensorProto.FLOAT, ["batch", 4])
        model = helper.make_model(
            helper.make_graph(list(nodes), "tiny", [image], [result], list(weights)),
            opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("ours", 1)],
            ir_version=10,
        )
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return make


def test_the_graph_is_built_strongly_typed_for_the_contracts_shapes(task):
    trt, heard = FakeTensorRT(), []
    build_engine(trt, task(workspace_bytes=2**30), lambda *progress: heard.append(progress))
    assert trt.flags == 1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert trt.shapes == {"image": SHAPES}
    assert trt.config.limits == {"workspace": 2**30}
    assert trt.config.targets == {}
    assert task().engine.read_bytes() == b"engine"
    assert heard == [("building", 0, 2), ("building", 1, 2), ("building", 2, 2)]


@pytest.mark.parametrize(
    ("capabilities", "targets"),
    [((), {}), (("8.6", "12.0"), {0: "sm86", 1: "sm120"}), (("current:9.0",), {0: "this GPU"})],
    ids=["the default", "two", "this machine's"],
)
def test_tensorrt_rtx_builds_for_the_named_gpus(task, capabilities, targets):
    trt = FakeTensorRT()
    build_engine(trt, task(flavour="tensorrt_rtx", capabilities=capabilities), nothing)
    assert trt.config.targets == targets
    assert getattr(trt.config, "num_compute_capabilities", 0) == len(targets)


def test_kernel_times_are_read_and_written_again(task, tmp_path):
    cache = tmp_path / "times"
    for content in (b"", KERNEL_TIMES):
        trt = FakeTensorRT()
        build_engine(trt, task(timing_cache=cache), nothing)
        assert trt.config.cache_read == content
        assert cache.read_bytes() == KERNEL_TIMES


def test_kernel_times_of_another_gpu_are_refused_and_stay(task, tmp_path):
    cache = tmp_path / "times"
    cache.write_bytes(b"of another GPU")
    with pytest.raises(InvalidInput, match="measured by another TensorRT or on another GPU"):
        build_engine(FakeTensorRT(), task(timing_cache=cache), nothing)
    assert cache.read_bytes() == b"of another GPU"
    assert not task().engine.exists()


def test_inputs_that_are_not_the_contracts_are_refused(task):
    with pytest.raises(BuildFailed, match=r"inputs are \['box', 'image'\], the contract's \['image'\]"):
        build_engine(FakeTensorRT(inputs=("image", "box")), task(), nothing)


def test_what_tensorrt_complains_of_is_said_in_one_line(task):
    with pytest.raises(BuildFailed) as refused:
        build_engine(FakeTensorRT(complaint="no kernel\n  for node_7"), task(), nothing)
    assert str(refused.value) == "tiny: TensorRT cannot build the plan: no kernel for node_7"


@pytest.mark.parametrize(
    ("remark", "scratch_bytes"),
    [("Total Activation Memory: 4096 bytes", 4096), ("Total Weights Memory: 4096 bytes", None)],
    ids=["said", "not said"],
)
def test_gpu_memory_beside_the_weights_is_what_tensorrt_says_of_it(task, remark, scratch_bytes):
    assert build_engine(FakeTensorRT(remark=remark), task(), nothing) == scratch_bytes


@rtx
@pytest.mark.parametrize("name", ["edsr", "clip_text"])
def test_a_network_of_the_mini_set_is_built_without_a_gpu(tmp_path, name):
    folder, heard = bundled_path("models/mini"), []
    mini = ModelSet.load(folder)
    profile = optimization_profile(NETWORKS[name], mini.sizes)
    task = EngineTask(name, mini.file(folder, NETWORKS[name]), profile, tmp_path / "made", options_of("tensorrt_rtx"))
    cost = build_in_own_process(task, lambda *progress: heard.append(progress))
    assert task.engine.stat().st_size > 100_000
    assert cost.build_s > 0
    assert cost.peak_rss_bytes > 2**26
    assert cost.scratch_bytes is not None
    assert cost.scratch_bytes > 2**16
    assert all(done <= total for _, done, total in heard)
    assert "Building engine" in {phase for phase, _, _ in heard}


@rtx
def test_a_node_that_tensorrt_does_not_know_is_named(graph, task):
    unknown = helper.make_node("Respin", ["image"], ["result"], name="turn_it", domain="ours")
    with pytest.raises(BuildFailed, match=r"^tiny: TensorRT cannot parse model\.onnx: node 'turn_it' \(Respin\): .+"):
        build_in_own_process(task(graph(unknown), "tensorrt_rtx"), nothing)
    assert not task().engine.exists()


@rtx
def test_halves_multiplied_with_floats_are_refused(graph, task):
    weights = helper.make_tensor("weights", TensorProto.FLOAT16, [4, 4], [1.0] * 16)
    mixed = helper.make_node("MatMul", ["image", "weights"], ["result"], name="mixed")
    with pytest.raises(BuildFailed, match=r"mixed.*(Half|Float)"):
        build_in_own_process(task(graph(mixed, weights=[weights]), "tensorrt_rtx"), nothing)


@rtx
def test_a_workspace_that_is_too_small_is_said(tmp_path):
    graph = bundled_path("models/mini") / "edsr" / "model.onnx"
    profile = {"image": ((1, 3, 32, 32), (1, 3, 64, 64), (1, 3, 64, 64))}
    task = EngineTask("edsr", graph, profile, tmp_path / "made", options_of("tensorrt_rtx", workspace_bytes=2**20))
    with pytest.raises(BuildFailed, match="its workspace was limited to 1 MiB: where memory ran out, allow more"):
        build_in_own_process(task, nothing)


@rtx
def test_shapes_that_the_graph_cannot_have_are_refused(graph, task):
    shift = helper.make_node("Relu", ["image"], ["result"], name="clip")
    wrong = {"image": ((1, 5), (2, 5), (8, 5))}
    with pytest.raises(BuildFailed, match="image"):
        build_in_own_process(task(graph(shift), "tensorrt_rtx", profile=wrong), nothing)


def test_a_bug_in_the_building_process_stays_loud(task, capfd):
    with pytest.raises(InternalError, match="exit code 1 and no result"):
        build_in_own_process(task(flavour="no_such_flavour"), nothing)
    assert "ModuleNotFoundError" in capfd.readouterr().err


def test_a_building_process_that_is_killed_is_reported_in_words(task):
    with pytest.raises(ProcessKilled, match="ended by SIGKILL; memory probably ran out"):
        build_in_own_process(task(flavour="killed_flavour"), nothing)


@rtx
def test_an_interrupted_caller_stops_the_build(graph, task):
    def interrupt(*progress):
        raise KeyboardInterrupt

    relu = helper.make_node("Relu", ["image"], ["result"])
    with pytest.raises(KeyboardInterrupt):
        build_in_own_process(task(graph(relu), "tensorrt_rtx"), interrupt)
    assert multiprocessing.active_children() == []
