"""Check that an ONNX file matches its contract: names, dtypes and axes of inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from respin.contracts.networks import GUIDED
from respin.errors import ContractMismatch
from respin.model_set import Sizes
from respin.specs import BATCH_NAME, Axis, DType, ModelSpec, TensorSpec

_ELEMENT_TYPES: dict[DType, int] = {
    DType.BOOL: onnx.TensorProto.BOOL,
    DType.INT64: onnx.TensorProto.INT64,
    DType.FP32: onnx.TensorProto.FLOAT,
}


def check_graph(path: Path, spec: ModelSpec, sizes: Sizes) -> None:
    """Compare a file's inputs and outputs with a network's contract.

    Args:
        path: the ONNX file; external weights need not be there.
        spec: the network's contract.
        sizes: image sizes of the set; axes that it fixes are static in the file, the others have the contract's name.

    Raises:
        ContractMismatch: another name, order, dtype, rank, length or axis name.
    """
    graph = onnx.load(path, load_external_data=False).graph
    for side, found, wanted in (("input", graph.input, spec.inputs), ("output", graph.output, spec.outputs)):
        names, wanted_names = [value.name for value in found], [tensor.name for tensor in wanted]
        if names != wanted_names:
            raise ContractMismatch(f"{spec.name}: the graph's {side}s are {names}, the contract's {wanted_names}")
        for value, tensor in zip(found, wanted, strict=True):
            _check_tensor(value, tensor, sizes, owner=spec.name)


def _check_tensor(value: onnx.ValueInfoProto, tensor: TensorSpec, sizes: Sizes, *, owner: str) -> None:
    found_type = value.type.tensor_type
    if found_type.elem_type != _ELEMENT_TYPES[tensor.dtype]:
        dtype = onnx.TensorProto.DataType.Name(found_type.elem_type)
        raise ContractMismatch(f"{owner}: '{tensor.name}' is {dtype} in the graph, {tensor.dtype.value} by contract")
    found = [dim.dim_param or dim.dim_value for dim in found_type.shape.dim]
    wanted = named_shape(tensor, sizes, GUIDED if tensor.name == "guidance" and found[:1] == [GUIDED] else BATCH_NAME)
    if found != wanted:
        raise ContractMismatch(f"{owner}: '{tensor.name}' has axes {found} in the graph, {wanted} by contract")


def takes_fewer_guidance(path: Path) -> bool:
    """Return whether a graph takes less `guidance` than samples (`respin.contracts.networks.GUIDED`).

    Args:
        path: the ONNX file; external weights need not be there.
    """
    inputs = onnx.load(path, load_external_data=False).graph.input
    return any(value.type.tensor_type.shape.dim[0].dim_param == GUIDED for value in inputs if value.name == "guidance")


def named_shape(tensor: TensorSpec, sizes: Sizes, batch: str = BATCH_NAME) -> Sequence[int | str]:
    """Return a tensor's axes in the form of an ONNX file: the length if it is fixed, else the name of the axis."""
    lengths = sizes.shape(tensor.shape)
    return [batch, *(length.name if isinstance(length, Axis) else length for length in lengths)]
