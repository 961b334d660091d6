"""Export a module to ONNX by its contract, then check what was written."""

from __future__ import annotations

import gc
import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir
import torch
from onnxscript import rewriter
from torch import nn
from torch.export import Dim

from respin.contracts.networks import GUIDED
from respin.errors import ContractMismatch
from respin.model_set import Sizes
from respin.runtimes import Precision
from respin.specs import BATCH_NAME, Array, Axis, ModelSpec
from respin_export.example import example_inputs, example_lengths
from respin_export.graph import check_graph, named_shape
from respin_export.half import to_half
from respin_export.half_parity import compare_fp16, inputs_without_amplification
from respin_export.networks.folding import fold
from respin_export.networks.unet import GuidedUNet
from respin_export.onnx_file import EXTERNAL_ABOVE_BYTES, replace_graph, slim, write_program
from respin_export.parity import compare_fp32, graph_outputs, module_outputs

OPSET = 20
"""ONNX opset; 23 would keep attention as one operator, which TensorRT does not build for every head size."""

TRACED_BATCH, CHECKED_BATCH = 2, 3
TRACED_UNGUIDED = 3
"""Samples beyond `TRACED_BATCH` that a UNet is traced with: no number that the tracer takes for a fixed one (0, 1), or
for the number of those with guidance."""
TRACED_SHARES, CHECKED_SHARES = (0.3, 0.5), (0.5, 0.3)
CALM_SHARES = {"grounding_dino": (0.2, 0.3)}
"""Lengths at which a network is checked instead of `CHECKED_SHARES`. Beyond 400 px GroundingDINO marks anchors at the
border as invalid; with random weights of the published size, 1e-7 more in each pixel moves half of its candidates by
3e-5 in any implementation."""

LARGE_BYTES = 10**9
"""Size of weights from which one sample is checked instead of `CHECKED_BATCH`."""

SLOW_RULE = "SlicesSplit"
"""Rule of onnxscript's optimizer that compares all pairs of nodes: minutes for GroundingDINO."""


@dataclass(frozen=True)
class ExportOptions:
    """The options of an export.

    Args:
        precision: number format of the graph's arithmetic; its inputs and outputs are float32 either way.
        slim: whether onnxslim simplifies the graph, unless it is larger than `SLIM_LIMIT_BYTES`.
        device: device on which the module computes the reference, "cpu" or "cuda"; the file is checked on the CPU.
        external_above_bytes: larger weights are written to a file beside the graph.
        gated: whether an error above its limit raises ExportMismatch; else it is only reported.
    """

    precision: Precision = "fp32"
    slim: bool = False
    device: str = "cpu"
    external_above_bytes: int = EXTERNAL_ABOVE_BYTES
    gated: bool = True


PLAIN = ExportOptions()


def export_network(
    module: nn.Module, spec: ModelSpec, sizes: Sizes, path: Path, options: ExportOptions = PLAIN
) -> dict[str, float]:
    """Export a module to an ONNX file by its contract, and check the file with another batch and other lengths.

    Args:
        module: its `forward` takes the contract's inputs by name and returns its outputs in order. It is changed in
            place: evaluation mode, folded (`respin_export.networks.folding`), and float16 if the options say so.
        spec: the network's contract.
        sizes: image sizes of the set; axes that it fixes become static.
        path: path of the file; its folder is created. A failed export leaves an existing file unchanged.
        options: precision and other options.

    Returns:
        the error of each output, as `respin_export.parity` or `respin_export.half_parity` measures it.

    Raises:
        ContractMismatch: the module or the graph does not match the contract.
        ExportMismatch: the graph does not compute what the module computes.
    """
    return export_loaded(lambda: module, spec, sizes, path, options=options)


def export_loaded(
    load: Callable[[], nn.Module],
    spec: ModelSpec,
    sizes: Sizes,
    path: Path,
    *,
    options: ExportOptions = PLAIN,
    on_stage: Callable[[str], None] = lambda _: None,
) -> dict[str, float]:
    """Export a module as `export_network` does, and free its memory before the graph is loaded and checked.

    Args:
        load: returns the module.
        spec: the network's contract.
        sizes: image sizes of the set.
        path: path of the file.
        options: precision and other options.
        on_stage: called with each stage as it begins (`respin_export.export_set.STAGES`).
    """
    on_stage("loading")
    module = load().eval().requires_grad_(False)
    _check_signature(module, spec)
    calls = _checked_calls(module, spec, sizes, options)
    on_stage("computing")
    wanted = [_reference(module, inputs, options.device) for inputs in calls]
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as unchecked:
        draft = Path(unchecked) / path.name
        on_stage("tracing")
        # The reference above is the module before folding.
        module = fold(module)
        program = _trace(to_half(module) if options.precision == "fp16" else module, spec, sizes)
        _name_axes(program.model.graph, spec, sizes)
        _strip(program.model)
        on_stage("writing")
        write_program(program, draft, external_above_bytes=options.external_above_bytes)
        del module, program
        # torch's programs keep the weights alive in reference cycles.
        gc.collect()
        if options.slim:
            slim(draft)
        check_graph(draft, spec, sizes)
        on_stage("checking")
        compare = compare_fp16 if options.precision == "fp16" else compare_fp32
        errors = [
            compare(spec, graph_outputs(draft, spec, inputs), outputs, gated=options.gated)
            for inputs, outputs in zip(calls, wanted, strict=True)
        ]
        replace_graph(draft, path)
    return {output: max(each[output] for each in errors) for output in errors[0]}


def _checked_calls(module: nn.Module, spec: ModelSpec, sizes: Sizes, options: ExportOptions) -> list[dict[str, Array]]:
    """Return the inputs to compare; a UNet that doubles guided samples has a second call without any."""
    size_bytes = sum(tensor.nbytes for tensor in module.parameters())
    # A batch other than the traced one shows a fixed axis; three of SAM's images would take 10 GB.
    batch = CHECKED_BATCH if size_bytes < LARGE_BYTES else 1
    lengths = example_lengths(spec, sizes, CALM_SHARES.get(spec.name, CHECKED_SHARES))
    inputs = example_inputs(spec, sizes, batch=batch, lengths=lengths, seed=1)
    calm = inputs_without_amplification(inputs) if options.precision == "fp16" else inputs
    return [calm, {**calm, "guidance": calm["guidance"][:0]}] if isinstance(module, GuidedUNet) else [calm]


def _reference(module: nn.Module, inputs: Mapping[str, Array], device: str) -> list[Array]:
    if device == "cpu":
        return module_outputs(module, inputs)
    # TensorFloat-32, torch's default for convolutions, has 11 bits.
    with torch.backends.cudnn.flags(allow_tf32=False):
        wanted = module_outputs(module.to(device), inputs, device)
    module.to("cpu")
    return wanted


def dynamic_shapes(spec: ModelSpec, sizes: Sizes) -> dict[str, dict[int, Any]]:
    """Return the free axes of every input, the batch axis first, in the form of torch.export."""
    dims: dict[str, Any] = {}
    return {
        tensor.name: {
            position: dims.setdefault(axis.name, _dim(axis))
            for position, axis in enumerate((spec.batch, *sizes.shape(tensor.shape)))
            if isinstance(axis, Axis)
        }
        for tensor in spec.inputs
    }


def _dim(axis: Axis) -> Any:
    step = axis.multiple_of
    if step == 1:
        # Not `Dim(...)`: its solver cannot prove Swin's windows for every length.
        return Dim.DYNAMIC(min=axis.smallest, max=axis.largest)
    return step * Dim(f"{axis.name}_by_{step}", min=axis.smallest // step, max=axis.largest // step)


def _check_signature(module: nn.Module, spec: ModelSpec) -> None:
    parameters = list(inspect.signature(module.forward).parameters)
    wanted = [tensor.name for tensor in spec.inputs]
    if parameters != wanted:
        raise ContractMismatch(
            f"{spec.name}: forward of {type(module).__name__} takes {parameters}, the contract says {wanted}; "
            "rename or reorder its parameters"
        )


def _trace(module: nn.Module, spec: ModelSpec, sizes: Sizes) -> torch.onnx.ONNXProgram:
    free = isinstance(module, GuidedUNet)
    batch = TRACED_UNGUIDED + TRACED_BATCH if free else TRACED_BATCH
    arrays = example_inputs(spec, sizes, batch=batch, lengths=example_lengths(spec, sizes, TRACED_SHARES))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    shapes = dynamic_shapes(spec, sizes)
    if free:
        tensors["guidance"] = tensors["guidance"][:TRACED_BATCH]
        shapes["guidance"] = {0: Dim.DYNAMIC}
    with _quiet(), _without(SLOW_RULE):
        # Not left to torch.onnx, which silently fixes an axis that cannot stay free.
        exported = torch.export.export(
            module,
            (),
            kwargs=tensors,
            dynamic_shapes=shapes,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        program = torch.onnx.export(
            exported,
            kwargs=tensors,
            input_names=list(arrays),
            output_names=[tensor.name for tensor in spec.outputs],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None  # dynamo=True, the default, always returns one
    return program


def _name_axes(graph: onnx_ir.Graph, spec: ModelSpec, sizes: Sizes) -> None:
    """Give free axes the contract's names; `check_graph` finds other differences."""
    axes = {value.name: value.shape[0] for value in graph.inputs if value.shape}
    own = axes.get("guidance") != axes.get("latents")
    for values, tensors in ((graph.inputs, spec.inputs), (graph.outputs, spec.outputs)):
        for value, tensor in zip(values, tensors, strict=False):
            wanted = named_shape(tensor, sizes, GUIDED if own and tensor.name == "guidance" else BATCH_NAME)
            if value.shape is not None and len(value.shape) == len(wanted):
                value.shape = onnx_ir.Shape(map(_name_axis, value.shape, wanted))


def _name_axis(found: int | onnx_ir.SymbolicDim, wanted: int | str) -> int | str | onnx_ir.SymbolicDim:
    return wanted if isinstance(found, onnx_ir.SymbolicDim) and isinstance(wanted, str) else found


def _strip(model: onnx_ir.Model) -> None:
    """Drop the metadata about the traced Python code, which is larger than a small network's weights."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    ends = {*model.graph.inputs, *model.graph.outputs}
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for output in node.outputs:
            output.metadata_props.clear()
            if output not in ends:
                output.shape = output.type = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's warnings about itself: deprecations, torchvision, bounds of axes."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx.experimental.symbolic_shapes")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _without(rule: str) -> Iterator[None]:
    """Disable a rule of onnxscript's optimizer, which has no option for it."""
    before = rewriter._DEFAULT_REWRITE_RULES
    rewriter._DEFAULT_REWRITE_RULES = tuple(each for each in before if each.name != rule)
    try:
        yield
    finally:
        rewriter._DEFAULT_REWRITE_RULES = before
