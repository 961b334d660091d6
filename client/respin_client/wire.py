"""Convert named arrays to Triton's messages and back."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

from respin.errors import ContractMismatch
from respin.specs import Array, ModelSpec, TensorSpec

Tensor = tuple[str, tuple[int, ...]]
"""Triton's name of an element type, and a shape with -1 for any length."""


@dataclass(frozen=True)
class Interface:
    """The tensors of a model, by name."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @classmethod
    def of_contract(cls, spec: ModelSpec) -> Interface:
        """Return the interface of a model by its contract."""
        return cls(_by_name(spec.inputs), _by_name(spec.outputs))

    @classmethod
    def of_metadata(cls, answer: service_pb2.ModelMetadataResponse) -> Interface:
        """Return the interface of a model by a server's description."""
        inputs, outputs = (
            {tensor.name: (str(tensor.datatype), tuple(tensor.shape)) for tensor in tensors}
            for tensors in (answer.inputs, answer.outputs)
        )
        return cls(inputs, outputs)


def _by_name(specs: tuple[TensorSpec, ...]) -> dict[str, Tensor]:
    return {spec.name: (spec.dtype.value, spec.dims) for spec in specs}


def message_from_arrays(
    model: str, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_s: float
) -> service_pb2.ModelInferRequest:
    """Return the message of a request to a model.

    Args:
        model: name of the model.
        inputs: arrays by name.
        outputs: names of the outputs to request.
        timeout_s: deadline of the response: gRPC's own deadline does not reach a model, but this parameter of the
            protocol does, and lets the server refuse at once what it cannot do in time.
    """
    message = service_pb2.ModelInferRequest(model_name=model)
    message.parameters["timeout"].int64_param = int(timeout_s * 1e6)
    for name, array in inputs.items():
        message.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        message.raw_input_contents.append(_raw_from_array(array))
    for name in outputs:
        message.outputs.add(name=name)
    return message


def _raw_from_array(array: Array) -> bytes:
    if array.dtype != np.object_:
        return array.tobytes()
    return bytes(serialize_byte_tensor(array).item()) if array.size else b""


def arrays_from_message(message: service_pb2.ModelInferResponse) -> dict[str, Array]:
    """Return the outputs of a response, by name.

    Raises:
        ContractMismatch: a tensor has another number of bytes than its shape.
    """
    arrays = {}
    # Triton sends every tensor as raw bytes, none in the message's typed fields.
    for tensor, raw in zip(message.outputs, message.raw_output_contents, strict=True):
        try:
            arrays[tensor.name] = _array_from_raw(raw, tensor.datatype).reshape(tuple(tensor.shape))
        except (ValueError, TypeError, struct.error) as error:
            raise ContractMismatch(
                f"the server's '{tensor.name}' cannot be read as {tensor.datatype} {list(tensor.shape)} ({error}); "
                "install the same version of Respin on both sides"
            ) from None
    return arrays


def _array_from_raw(raw: bytes, datatype: str) -> Array:
    array: Array = (
        deserialize_bytes_tensor(raw) if datatype == "BYTES" else np.frombuffer(raw, triton_to_np_dtype(datatype))
    )
    return array
