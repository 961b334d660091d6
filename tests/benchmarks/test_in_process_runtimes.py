"""The runtimes that are measured, and what is made for them first; running TensorRT and CUDA graphs needs a GPU."""

from pathlib import Path

import pytest
import torch
from run_bench import measure

from respin.errors import InvalidInput
from respin.model_set import ModelSet
from respin_benchmarks.circumstances import FILE, read_circumstances
from respin_benchmarks.in_process import runtimes
from respin_benchmarks.in_process.runtimes import OutOfTime, RuntimeLoader, has_tensorrt
from respin_ensemble.networks.torch_networks import COMPILED
from respin_export.inference_modules import InferenceModules
from respin_export.isolated import TaskDone
from respin_export.mini.trained import MiniSet
from respin_export.published import PublishedWeights


def test_tensorrt_is_refused_where_there_is_no_gpu_for_it():
    with pytest.raises(InvalidInput, match="'tensorrt' runs on an NVIDIA GPU alone; use --device cuda"):
        opened_by_tensorrt(Path("unused"), device="cpu")


def test_a_gpu_that_tensorrt_does_not_build_for_is_told_before_anything_is_exported(tmp_path, monkeypatch):
    monkeypatch.setattr("respin_benchmarks.in_process.runtimes.device_capability", lambda: "9.0")
    with pytest.raises(InvalidInput, match=r"cannot build for compute capability 9\.0; choose of"):
        opened_by_tensorrt(tmp_path)
    assert not has_tensorrt()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here, which may load them")
def test_engines_are_built_once_for_this_gpu_and_the_missing_gpu_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("respin_benchmarks.in_process.runtimes.device_capability", lambda: "8.6")
    assert has_tensorrt()
    told = []
    for _ in range(2):
        with pytest.raises(InvalidInput, match="device is 'cuda' and PyTorch sees no NVIDIA GPU here"):
            opened_by_tensorrt(tmp_path, tell=told.append)
    assert told == ["building the engine of edsr"]
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("mini-tensorrt_rtx-")
    assert folder.name.endswith("-8.6")


def test_when_the_time_is_up_engines_that_are_built_are_kept_for_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr("respin_benchmarks.in_process.runtimes.device_capability", lambda: "8.6")
    with pytest.raises(OutOfTime, match="time is up with 1 of 2 engines built; run the same command again"):
        opened_by_tensorrt(tmp_path, names=["edsr", "vae_encoder"], time_is_up=lambda: True)
    (folder,) = tmp_path.iterdir()
    assert list(ModelSet.load(folder).networks) == ["edsr"]


def test_a_run_that_is_out_of_time_says_so(tmp_path, monkeypatch):
    def out_of_time(*_, **__):
        raise OutOfTime("time is up with 1 of 2 engines built; run the same command again")

    monkeypatch.setattr(RuntimeLoader, "load", out_of_time)
    where = ["--results", tmp_path, "--work", tmp_path / "work"]
    told = measure("networks", "--device", "cpu", "--runtime", "onnxruntime", *where)
    assert "run the same command again" in told
    (run,) = read_circumstances(tmp_path / FILE)
    assert run["results"] == []


def opened_by_tensorrt(work, device="cuda", tell=print, names=("edsr",), **options):
    return RuntimeLoader(MiniSet(), device, False, work, tell=tell, **options).load("tensorrt", names)


def test_when_the_time_is_up_no_further_export_is_waited_for(tmp_path, monkeypatch):
    begun = []

    def export_set(plan, on_event):
        for name in plan.networks:
            begun.append(name)
            on_event(TaskDone(name, None, 1.0, 1))
        return []

    monkeypatch.setattr(runtimes, "export_set", export_set)
    loader = RuntimeLoader(PublishedWeights(tmp_path), "cpu", False, tmp_path, time_is_up=lambda: True)
    with pytest.raises(OutOfTime, match="time is up with 1 of 2 exports; run the same command again"):
        loader.load("onnxruntime", ["edsr", "vae_encoder"])
    assert begun == ["edsr"]


def test_compilations_that_are_done_are_not_begun_again_unless_the_gpu_is_another(tmp_path, monkeypatch):
    begun, gpu = [], ["a GPU"]

    def run_isolated(tasks, jobs):
        for name in tasks:
            begun.append(name)
            yield TaskDone(name, None, 1.0, 1)

    monkeypatch.setattr(runtimes, "run_isolated", run_isolated)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: gpu[0])
    modules = InferenceModules(MiniSet())
    late, early = (
        RuntimeLoader(MiniSet(), "cuda", True, tmp_path, time_is_up=lambda up=up: up) for up in (True, False)
    )
    with pytest.raises(OutOfTime, match=r"time is up with 1 of \d+ compiled; run the same command again"):
        late._compile(modules)
    early._compile(modules)
    everything = list(begun)
    assert len(set(everything)) == len(everything)
    assert {name.split()[0] for name in everything} == set(COMPILED)
    late._compile(modules)
    assert begun == everything
    gpu[0] = "another GPU"
    early._compile(modules)
    assert begun == 2 * everything


def test_a_runtime_that_there_is_not_is_refused():
    with pytest.raises(InvalidInput, match="runtime is 'openvino'; choose of torch eager"):
        RuntimeLoader(MiniSet(), "cpu", False, Path("unused")).load("openvino")
