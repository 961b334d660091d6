"""Export a module to ONNX by its contract, then check what was written."""

from __future__ import annotations

import gc
import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import onnx_ir
import torch
from onnxscript import rewriter
from torch import nn
from torch.export import Dim

from respin.errors import ContractMismatch
from respin.model_set import Sizes
from respin.specs import Array, Axis, ModelSpec
from respin_export.example import example_inputs, example_lengths
from respin_export.graph import check_graph, named_shape
from respin_export.half import to_half
from respin_export.half_parity import compare_fp16, deviations_fp16, inputs_without_amplification
from respin_export.networks.folding import fold
from respin_export.onnx_file import EXTERNAL_ABOVE_BYTES, replace_graph, slim, write_program
from respin_export.parity import compare_fp32, deviations_fp32, graph_outputs, module_outputs, outputs_by_name

OPSET = 20
"""23 would keep attention as one operator, which TensorRT does not build for every head size."""

TRACED_BATCH, CHECKED_BATCH = 2, 3
TRACED_SHARES, CHECKED_SHARES = (0.3, 0.5), (0.5, 0.3)
CALM_SHARES = {"grounding_dino": (0.2, 0.3)}
"""Where others are checked. Beyond 400 px GroundingDINO marks anchors at the border as invalid; with random weights of
the published size, 1e-7 more in each pixel then moves half of its candidates by 3e-5, whoever computes it."""

LARGE_BYTES = 10**9
"""Weights from which one sample is checked instead of `CHECKED_BATCH`."""

SLOW_RULE = "SlicesSplit"
"""Of onnxscript's optimiser: to join two slices it looks at all nodes for each node, for minutes at GroundingDINO."""

Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class ExportOptions:
    """How a network is written.

    Args:
        precision: in which the graph computes; its inputs and outputs are float32 either way.
        slim: whether onnxslim folds and merges what it can; graphs above `SLIM_LIMIT_BYTES` are left as they are.
        device: "cpu", or "cuda" for the module's own outputs; ONNX Runtime checks the file on the CPU.
        external_above_bytes: weights beyond this lie in a file beside the graph.
        gated: whether a graph whose error is beyond its gate is refused; else the error is told and no more.
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
    """Write a module as an ONNX file that keeps to its contract, and prove it on another batch and other lengths.

    Args:
        module: its `forward` takes the contract's inputs by name and returns its outputs in order; it is put into
            evaluation mode, into the form in which it is run (`respin_export.networks.folding`), and into float16 where
            the options say so.
        spec: the network's contract.
        sizes: of the set; axes that it fixes become static.
        path: of the file; its folder is made. A graph that is refused leaves what lies there as it is.
        options: precision, size and so on.

    Returns:
        the error of each output, as `respin_export.parity` or `respin_export.half_parity` say.

    Raises:
        ContractMismatch: the module or the graph does not keep to the contract.
        ExportMismatch: the graph computes something else than the module.
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
    """As `export_network`, but nobody else holds the module: it is gone before its graph is loaded and checked.

    Args:
        load: makes the module.
        spec: the network's contract.
        sizes: of the set.
        path: of the file.
        options: precision, size and so on.
        on_stage: called with each stage as it begins (`respin_export.export_set.STAGES`).
    """
    on_stage("loading")
    module = load().eval().requires_grad_(False)
    _check_signature(module, spec)
    inputs = _checked_inputs(module, spec, sizes, options)
    on_stage("computing")
    wanted = _reference(module, inputs, options.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as unchecked:
        draft = Path(unchecked) / path.name
        on_stage("tracing")
        # The file is compared with the module as it was published.
        module = fold(module)
        program = _traced(to_half(module) if options.precision == "fp16" else module, spec, sizes)
        _name_axes(program.model.graph, spec, sizes)
        _strip(program.model)
        on_stage("writing")
        write_program(program, draft, external_above_bytes=options.external_above_bytes)
        del module, program
        # torch's programs hold themselves in cycles, and with them the weights.
        gc.collect()
        if options.slim:
            slim(draft)
        check_graph(draft, spec, sizes)
        on_stage("checking")
        errors = _errors(spec, graph_outputs(draft, spec, inputs), wanted, options)
        replace_graph(draft, path)
    return errors


def _errors(spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array], options: ExportOptions) -> dict[str, float]:
    compare, measure = (
        (compare_fp16, deviations_fp16) if options.precision == "fp16" else (compare_fp32, deviations_fp32)
    )
    if options.gated:
        return compare(spec, got, wanted)
    return {each.output: each.error for each in measure(spec.name, got, outputs_by_name(spec, wanted))}


def _checked_inputs(module: nn.Module, spec: ModelSpec, sizes: Sizes, options: ExportOptions) -> dict[str, Array]:
    size_bytes = sum(tensor.nbytes for tensor in module.parameters())
    # Any batch but the traced one finds a fixed axis; three of SAM's images would take 10 GB.
    batch = CHECKED_BATCH if size_bytes < LARGE_BYTES else 1
    lengths = example_lengths(spec, sizes, CALM_SHARES.get(spec.name, CHECKED_SHARES))
    inputs = example_inputs(spec, sizes, batch=batch, lengths=lengths, seed=1)
    return inputs_without_amplification(inputs) if options.precision == "fp16" else inputs


def _reference(module: nn.Module, inputs: Mapping[str, Array], device: str) -> list[Array]:
    if device == "cpu":
        return module_outputs(module, inputs)
    # TensorFloat-32, torch's own choice for convolutions, has 11 bits.
    with torch.backends.cudnn.flags(allow_tf32=False):
        wanted = module_outputs(module.to(device), inputs, device)
    module.to("cpu")
    return wanted


def dynamic_shapes(spec: ModelSpec, sizes: Sizes) -> dict[str, dict[int, Any]]:
    """The free axes of every input, the batch's first, as torch.export wants them."""
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
        # Not `Dim(...)`: its solver wants proof for every length, which Swin's windows are beyond.
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


def _traced(module: nn.Module, spec: ModelSpec, sizes: Sizes) -> torch.onnx.ONNXProgram:
    arrays = example_inputs(spec, sizes, batch=TRACED_BATCH, lengths=example_lengths(spec, sizes, TRACED_SHARES))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with _quiet(), _without(SLOW_RULE):
        # Not left to torch.onnx: where an axis cannot stay free, that fixes it and says nothing.
        exported = torch.export.export(
            module,
            (),
            kwargs=tensors,
            dynamic_shapes=dynamic_shapes(spec, sizes),
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
    """Give symbolic axes the contract's names where it leaves them free; the check of the file finds all the rest."""
    for values, tensors in ((graph.inputs, spec.inputs), (graph.outputs, spec.outputs)):
        for value, tensor in zip(values, tensors, strict=False):
            wanted = named_shape(tensor, sizes)
            if value.shape is not None and len(value.shape) == len(wanted):
                value.shape = onnx_ir.Shape(map(_named, value.shape, wanted))


def _named(found: int | onnx_ir.SymbolicDim, wanted: int | str) -> int | str | onnx_ir.SymbolicDim:
    return wanted if isinstance(found, onnx_ir.SymbolicDim) and isinstance(wanted, str) else found


def _strip(model: onnx_ir.Model) -> None:
    """Drop what describes the Python that was traced: it outweighs the weights of a small network."""
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
    """Hold back what the exporter says about itself: deprecations, operators of torchvision, bounds it cannot print."""
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
    """Let onnxscript's optimiser do without one of its rules; it has no option for that."""
    before = rewriter._DEFAULT_REWRITE_RULES
    rewriter._DEFAULT_REWRITE_RULES = tuple(each for each in before if each.name != rule)
    try:
        yield
    finally:
        rewriter._DEFAULT_REWRITE_RULES = before
