"""TensorRT as a runtime that is measured: engines of the flavour that is installed; running them needs a GPU."""

from pathlib import Path

import pytest
import torch

from respin.errors import InternalError, InvalidInput
from respin.model_set import ModelSet
from respin_benchmarks.circumstances import FILE, circumstances_in
from respin_benchmarks.in_process.__main__ import main
from respin_benchmarks.in_process.resume import OutOfTime
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


def test_when_the_time_is_up_engines_that_are_built_are_kept_for_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr("respin_benchmarks.in_process.runtimes.device_capability", lambda: "8.6")
    with pytest.raises(OutOfTime, match="time is up with 1 of 2 engines built; run the same command again"):
        opened_by_tensorrt(tmp_path, names=["edsr", "vae_encoder"], time_is_up=lambda: True)
    (folder,) = tmp_path.iterdir()
    assert list(ModelSet.load(folder).networks) == ["edsr"]


def test_a_run_that_is_out_of_time_says_so(tmp_path, monkeypatch, capsys):
    def out_of_time(*_, **__):
        raise OutOfTime("time is up with 1 of 2 engines built; run the same command again")

    monkeypatch.setattr("respin_benchmarks.in_process.session.open_networks", out_of_time)
    where = ["--results", str(tmp_path), "--work", str(tmp_path / "work")]
    assert main(["--device", "cpu", "--runtimes", "onnxruntime", "--measure", "networks", *where]) == 0
    assert "run the same command again" in capsys.readouterr().out
    (run,) = circumstances_in(tmp_path / FILE)
    assert run["results"] == []


def opened_by_tensorrt(work, device="cuda", tell=print, names=("edsr",), **options):
    given = {"device": device, "half": False, "work": work, "jobs": 1, "tell": tell, "names": names}
    return open_networks("tensorrt", MiniSet(), **given, **options)
