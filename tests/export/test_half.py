"""Networks in float16: what comes in and out, what stays in float32, and when they are refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from random_networks import build
from torch import nn

from respin.contracts import NETWORKS
from respin_export.errors import ExportMismatch
from respin_export.example import example_inputs, example_lengths
from respin_export.graph import check_graph
from respin_export.half import Cast, Float32Norm, to_half
from respin_export.half_parity import compare_fp16, inputs_without_amplification, relative_l2
from respin_export.mini.sizes import SIZES
from respin_export.parity import graph_outputs, module_outputs
from respin_export.to_onnx import ExportOptions, export_network

EDSR, GROUNDING_DINO = NETWORKS["edsr"], NETWORKS["grounding_dino"]
FLOAT16_CPU_SHARE = 2
"""How much more a module in float16 errs on the CPU, which also sums in float16, than its graph in ONNX Runtime."""


def inputs_of(spec, batch=2):
    return inputs_without_amplification(
        example_inputs(spec, SIZES, batch=batch, lengths=example_lengths(spec, SIZES), seed=1)
    )


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "grounding_dino"])
def test_in_half_a_network_takes_and_gives_float32_and_computes_nearly_the_same(name):
    spec = NETWORKS[name]
    inputs = inputs_of(spec)
    wanted = module_outputs(build(name), inputs)
    half = to_half(build(name))
    assert any(parameter.dtype is torch.float16 for parameter in half.parameters())
    for tensor, ours, theirs in zip(spec.outputs, module_outputs(half, inputs), wanted, strict=True):
        tensor.check(ours, batched=True, owner=name)
        assert relative_l2(ours, theirs) <= FLOAT16_CPU_SHARE * 3e-3


def test_in_half_grounding_dino_finds_the_same_boxes():
    inputs = inputs_of(GROUNDING_DINO, batch=1)
    wanted = module_outputs(build("grounding_dino"), inputs)
    errors = compare_fp16(GROUNDING_DINO, module_outputs(to_half(build("grounding_dino")), inputs), wanted)
    assert errors["boxes"] <= 1 / 1200


@pytest.mark.parametrize("name", NETWORKS)
def test_normalisations_stay_in_float32(name):
    half = to_half(build(name))
    norms = [module for module in half.modules() if isinstance(module, nn.GroupNorm | nn.LayerNorm)]
    assert all(parameter.dtype is torch.float32 for norm in norms for parameter in norm.parameters())


def test_a_normalisation_of_large_values_does_not_vanish():
    values = 400 * torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    norm = nn.GroupNorm(2, 8)
    ours = Float32Norm(norm)(values.half())
    assert ours.dtype is torch.float16
    torch.testing.assert_close(ours.float(), norm(values), atol=5e-3, rtol=0)


def test_coordinates_prompts_and_heads_stay_in_float32():
    detector = to_half(build("grounding_dino")).model
    heads = [*detector.bbox_embed, *detector.model.decoder.bbox_embed, detector.model.encoder_output_bbox_embed]
    parts = [*heads, detector.model.enc_output, to_half(build("sam_decoder")).decoder.prompts]
    assert {parameter.dtype for part in parts for parameter in part.parameters()} == {torch.float32}


def test_arguments_that_are_to_stay_are_not_cast():
    class Dtypes(nn.Module):
        def forward(self, *arguments):
            self.seen = [argument.dtype for argument in arguments]
            return arguments[0], torch.ones(1, dtype=torch.int64)

    module = Dtypes()
    result, whole = Cast(module, torch.float16, torch.float32, untouched=(1,))(
        torch.ones(1), torch.ones(1), torch.ones(1, dtype=torch.bool)
    )
    assert module.seen == [torch.float16, torch.float32, torch.bool]
    assert (result.dtype, whole.dtype) == (torch.float32, torch.int64)


def test_a_module_that_is_no_network_is_not_guessed_at():
    with pytest.raises(TypeError, match="Linear"):
        to_half(nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["edsr", "clip_text"])
def test_an_fp16_graph_keeps_the_contract_and_holds_half_the_bytes(tmp_path, name):
    spec, path = NETWORKS[name], tmp_path / name / "model.onnx"
    errors = export_network(build(name), spec, SIZES, path, ExportOptions(precision="fp16"))
    check_graph(path, spec, SIZES)
    assert 0 < max(errors.values()) <= 3e-3
    weights = onnx.load(path).graph.initializer
    total, halves = (
        sum(onnx.numpy_helper.to_array(value).nbytes for value in weights if value.data_type in dtypes)
        for dtypes in ((onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16), (onnx.TensorProto.FLOAT16,))
    )
    assert halves > 0.8 * total


def test_nan_does_not_pass_the_fp16_gate():
    wanted = [np.ones((1, 3, 8, 8), np.float32)]
    compare_fp16(EDSR, [wanted[0] + np.float32(2e-3)], wanted)
    with pytest.raises(ExportMismatch, match=r"0\.004"):
        compare_fp16(EDSR, [wanted[0] + np.float32(4e-3)], wanted)
    wrong = wanted[0].copy()
    wrong[0, 0, 0, 0] = np.nan
    with pytest.raises(ExportMismatch, match="nan"):
        compare_fp16(EDSR, [wrong], wanted)
    with pytest.raises(ExportMismatch, match="shape"):
        compare_fp16(EDSR, [wanted[0][:, :, :4]], wanted)


def detections():
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((1, 900, 256)).astype(np.float32)
    logits[..., 7:] = -np.inf
    return logits, generator.uniform(0, 1, (1, 900, 4)).astype(np.float32)


def test_boxes_may_move_by_less_than_a_pixel_of_1200_and_change_their_order():
    logits, boxes = detections()
    order = np.random.default_rng(1).permutation(900)
    moved = (boxes + np.float32(0.9 / 1200))[:, order]
    errors = compare_fp16(GROUNDING_DINO, [logits[:, order], moved], [logits, boxes])
    assert errors["boxes"] * 1200 == pytest.approx(0.9, rel=1e-3)
    with pytest.raises(ExportMismatch, match=r"0\.000917.*one pixel"):
        compare_fp16(GROUNDING_DINO, [logits, boxes + np.float32(1.1 / 1200)], [logits, boxes])


def test_boxes_in_place_do_not_excuse_other_scores():
    logits, boxes = detections()
    with pytest.raises(ExportMismatch, match="scores"):
        compare_fp16(GROUNDING_DINO, [logits + 1, boxes], [logits, boxes])


@pytest.mark.parametrize("output", [0, 1])
def test_detections_that_are_not_numbers_are_refused_in_fp16(output):
    got = [array.copy() for array in detections()]
    got[output][0, 5, 0] = np.nan
    with pytest.raises(ExportMismatch, match="nan"):
        compare_fp16(GROUNDING_DINO, got, detections())


def test_a_graph_of_mixed_types_is_found_out_before_anybody_serves_it(tmp_path):
    float16, float32 = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["image", "weight"], ["upscaled"])],
        "mixed",
        [onnx.helper.make_tensor_value_info("image", float32, [2, 2])],
        [onnx.helper.make_tensor_value_info("upscaled", float32, [2, 2])],
        [onnx.helper.make_tensor("weight", float16, [2, 2], np.zeros(4, np.float16))],
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    with pytest.raises(ExportMismatch, match="cannot load"):
        graph_outputs(tmp_path / "model.onnx", EDSR, {})
