"""Export a module to ONNX by its contract, then check what was written."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir
import torch
from torch import nn
from torch.export import Dim

from respin.errors import ContractMismatch
from respin.model_set import Sizes
from respin.specs import Axis, ModelSpec
from respin_export.example import example_inputs, example_lengths
from respin_export.graph import check_graph, named_shape
from respin_export.parity import check_parity

OPSET = 20
"""23 would keep attention as one operator, which TensorRT does not build for every head size."""

TRACED_BATCH, CHECKED_BATCH = 2, 3
TRACED_SHARES, CHECKED_SHARES = (0.3, 0.5), (0.5, 0.3)


def export_network(module: nn.Module, spec: ModelSpec, sizes: Sizes, path: Path) -> None:
    """Write a module as an ONNX file that keeps to its contract, and prove it on another batch and other lengths.

    Args:
        module: its `forward` takes the contract's inputs by name and returns its outputs in order; it is put into
            evaluation mode.
        spec: the network's contract.
        sizes: of the set; axes that it fixes become static.
        path: of the file; its folder is made. A graph that is refused leaves what lies there as it is.

    Raises:
        ContractMismatch: the module or the graph does not keep to the contract.
        ExportMismatch: the graph computes something else than the module.
    """
    module.eval().requires_grad_(False)
    _check_signature(module, spec)
    program = _traced(module, spec, sizes)
    _name_axes(program.model.graph, spec, sizes)
    _strip(program.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as unchecked:
        draft = Path(unchecked) / path.name
        program.save(draft)
        check_graph(draft, spec, sizes)
        lengths = example_lengths(spec, sizes, CHECKED_SHARES)
        inputs = example_inputs(spec, sizes, batch=CHECKED_BATCH, lengths=lengths, seed=1)
        check_parity(module, draft, spec, inputs)
        # Weights beyond 2 GB lie in a file of their own beside the graph.
        for file in Path(unchecked).iterdir():
            file.replace(path.parent / file.name)


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
    with _quiet():
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
    """Hold back what the exporter says about itself: its own deprecations, and operators of torchvision."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
