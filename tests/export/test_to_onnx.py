"""Exporting by contract: what is refused, and that the mini set can be made again."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import ContractMismatch
from respin.model_set import ModelSet, Sizes
from respin.onnx_runtime import onnxruntime
from respin.specs import Axis, DType, ModelSpec, TensorSpec
from respin_export.errors import ExportMismatch
from respin_export.example import example_inputs, example_lengths
from respin_export.graph import check_graph
from respin_export.mini.__main__ import main
from respin_export.parity import compare_fp32
from respin_export.to_onnx import export_loaded, export_network

SIDE = Axis("side", 8, 16, 32, multiple_of=4)
HALF = SIDE.divided_by(2, "half")
SQUARE = Axis("square", 4, 8, 8, set_size="sam_side")
TINY = ModelSpec(
    name="tiny",
    summary="halves a signal",
    batch=Axis("batch", 1, 2, 4),
    inputs=(TensorSpec("signal", DType.FP32, (SIDE,), ""), TensorSpec("square", DType.FP32, (SQUARE,), "")),
    outputs=(TensorSpec("halved", DType.FP32, (HALF,), ""),),
)
SIZES = Sizes(sam_side=8)


class Tiny(nn.Module):
    def forward(self, signal, square):
        return signal[:, ::2] + square.mean(dim=1, keepdim=True)


class Weighed(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((8,), 2.0))

    def forward(self, signal, square):
        return signal[:, ::2] + (square * self.weight).mean(dim=1, keepdim=True)


class Renamed(nn.Module):
    def forward(self, waveform, square):
        return waveform[:, ::2] + square.mean(dim=1, keepdim=True)


class Cropped(nn.Module):
    def forward(self, signal, square):
        return signal[:, :4] + square.mean(dim=1, keepdim=True)


class Doubled(nn.Module):
    def forward(self, signal, square):
        halved = Tiny()(signal, square)
        return halved, halved


class Rounded(nn.Module):
    def forward(self, signal, square):
        return (signal[:, ::2] + square.mean(dim=1, keepdim=True)).to(torch.int64)


class NotANumber(nn.Module):
    def forward(self, signal, square):
        return Tiny()(signal, square) * float("nan")


class TracedOnly(nn.Module):
    """Computes something else once it runs for real: what a Python branch does to a trace."""

    def forward(self, signal, square):
        return Tiny()(signal, square) + (0 if torch.compiler.is_exporting() else 1)


def test_a_module_that_keeps_to_its_contract_is_exported_with_the_contracts_axes(tmp_path):
    path = tmp_path / "tiny" / "model.onnx"
    export_network(Tiny(), TINY, SIZES, path)
    check_graph(path, TINY, SIZES)
    graph = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [value.shape for value in graph.get_inputs()] == [["batch", "side"], ["batch", 8]]
    assert [value.shape for value in graph.get_outputs()] == [["batch", "half"]]
    with pytest.raises(ContractMismatch, match="square"):
        check_graph(path, TINY, Sizes(sam_side=4))


@pytest.mark.parametrize(
    ("module", "error", "words"),
    [
        (Renamed(), ContractMismatch, "waveform"),
        (Cropped(), ContractMismatch, "'halved' has axes"),
        (Doubled(), ContractMismatch, "outputs are"),
        (Rounded(), ContractMismatch, "INT64"),
        (NotANumber(), ExportMismatch, "differs from the float32 module by nan"),
        (TracedOnly(), ExportMismatch, "changed the computation"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_module_that_does_not_keep_to_its_contract_is_refused_and_nothing_is_written(tmp_path, module, error, words):
    path = tmp_path / "tiny" / "model.onnx"
    with pytest.raises(error, match=words):
        export_network(module, TINY, SIZES, path)
    assert not list(tmp_path.rglob("*.onnx"))


def test_the_module_is_gone_before_its_graph_is_checked(tmp_path):
    weights = []

    def load():
        module = Weighed()
        weights.append(weakref.ref(module.weight))
        return module

    alive = {}
    look = lambda stage: alive.update({stage: any(ref() is not None for ref in weights)})  # noqa: E731
    export_loaded(load, TINY, SIZES, tmp_path / "model.onnx", on_stage=look)
    assert alive["writing"]
    assert not alive["checking"]


def test_made_again_the_smallest_network_computes_what_the_committed_one_does(tmp_path):
    assert main(["--output", str(tmp_path), "--only", "edsr"]) == 0
    made = ModelSet.load(tmp_path)
    made.verify(tmp_path)
    assert list(made.networks) == ["edsr"]
    spec = NETWORKS["edsr"]
    inputs = example_inputs(spec, made.sizes, batch=2, lengths=example_lengths(spec, made.sizes))
    again, committed = (
        onnxruntime.InferenceSession(folder / "edsr" / "model.onnx", providers=["CPUExecutionProvider"]).run(
            None, inputs
        )
        for folder in (tmp_path, bundled_path("models/mini"))
    )
    compare_fp32(spec, again, committed)


def test_the_command_says_how_it_is_used(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--only edsr" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "resnet"])
    assert "grounding_dino" in capsys.readouterr().err
