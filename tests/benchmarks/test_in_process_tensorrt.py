"""TensorRT as a runtime that is measured: engines of the flavour that is installed; running them needs a GPU."""

from pathlib import Path

import pytest
import torch

from respin.errors import InternalError, InvalidInput
from respin_benchmarks.in_process.runtimes import has_tensorrt, open_networks
from respin_benchmarks.in_process.weights import MiniSet


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
def test_engines_are_built_once_for_this_gpu_and_one_that_does_not_load_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("respin_benchmarks.in_process.runtimes.device_capability", lambda: "8.6")
    assert has_tensorrt()
    told = []
    for _ in range(2):
        with pytest.raises(InternalError, match=r"edsr: TensorRT .* cannot load model-.*\.plan on this machine"):
            opened_by_tensorrt(tmp_path, tell=told.append)
    assert told == ["building the engine of edsr"]
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("mini-tensorrt_rtx-")
    assert folder.name.endswith("-8.6")


def opened_by_tensorrt(work, device="cuda", tell=print):
    return open_networks("tensorrt", MiniSet(), device=device, half=False, work=work, jobs=1, tell=tell, names=["edsr"])
