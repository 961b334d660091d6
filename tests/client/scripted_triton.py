"""A real gRPC server that speaks Triton's protocol and says what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor, triton_to_np_dtype

from respin.contracts import JOBS
from respin.specs import Array

WAIT_S = 10.0
"""A test that waits this long has failed."""

PHOTO = ("--image", "laptop.jpg", "--class-name", "laptop")
"""What each command has to be told."""

Arrays = Mapping[str, Array]


def texts(*values: str | bytes) -> Array:
    """A BYTES tensor."""
    return np.array([value.encode() if isinstance(value, str) else value for value in values], np.object_)


def picture(colour: str) -> bytes:
    """A tiny PNG of one colour."""
    file = BytesIO()
    Image.new("RGB", (8, 4), colour).save(file, "PNG")
    return file.getvalue()


def event(stage: str = "novel_view", view: int = -1, step: int = 0, steps: int = 0, **outputs: Array) -> Arrays:
    """One message of the engine."""
    numbers = {"view": view, "step": step, "steps": steps}
    return {
        "stage": texts(stage),
        **{name: np.array([number], np.int32) for name, number in numbers.items()},
        **outputs,
    }


def refusal(code: grpc.StatusCode, sentence: str) -> service_pb2.ModelStreamInferResponse:
    """An error of the engine on a stream."""
    return service_pb2.ModelStreamInferResponse(error_message=f"{code.name}: {sentence}")


@dataclass
class ScriptedTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """What the server is told to say, and what it heard.

    Args:
        reply: answers a unary call.
        events: answers a stream; a message may also be given whole.
        interfaces: contract by model name, as the server knows them.
        loaded: whether its models are ready.
        heard: every call of a job: model, arrays, outputs, headers, timeout_us.
        ended: set when a call has ended, by whatever end.
    """

    reply: Callable[[Arrays, grpc.ServicerContext], Arrays] = lambda arrays, context: {}
    events: Callable[[Arrays, grpc.ServicerContext], Iterable[Arrays | Any]] = lambda arrays, context: ()
    interfaces: dict[str, Any] = field(default_factory=lambda: dict(JOBS))
    loaded: bool = True
    heard: list[SimpleNamespace] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def ModelReady(self, request, context):
        return service_pb2.ModelReadyResponse(ready=self.loaded)

    def ModelMetadata(self, request, context):
        if request.name not in self.interfaces:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        spec = self.interfaces[request.name]
        answer = service_pb2.ModelMetadataResponse(name=spec.name)
        for tensors, listed in ((spec.inputs, answer.inputs), (spec.outputs, answer.outputs)):
            for tensor in tensors:
                listed.add(name=tensor.name, datatype=tensor.dtype.value, shape=tensor.dims)
        return answer

    def ModelInfer(self, request, context):
        return message_from(self.reply(self._hear(request, context), context))

    def ModelStreamInfer(self, requests, context):
        for request in requests:
            for message in self.events(self._hear(request, context), context):
                whole = isinstance(message, service_pb2.ModelStreamInferResponse)
                yield message if whole else service_pb2.ModelStreamInferResponse(infer_response=message_from(message))

    def _hear(self, request, context) -> Arrays:
        context.add_callback(self.ended.set)
        arrays = {
            tensor.name: array_from(tensor, raw)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        self.heard.append(
            SimpleNamespace(
                model=request.model_name,
                arrays=arrays,
                outputs=[output.name for output in request.outputs],
                headers=dict(context.invocation_metadata()),
                timeout_us=request.parameters["timeout"].int64_param,
            )
        )
        return arrays


def array_from(tensor, raw: bytes) -> Array:
    """A tensor of Triton's protocol."""
    flat = (
        deserialize_bytes_tensor(raw)
        if tensor.datatype == "BYTES"
        else np.frombuffer(raw, triton_to_np_dtype(tensor.datatype))
    )
    return flat.reshape(tuple(tensor.shape))


def message_from(arrays: Arrays):
    """A response of Triton's protocol."""
    datatypes = {np.dtype(np.object_): "BYTES", np.dtype(np.float32): "FP32", np.dtype(np.int32): "INT32"}
    message = service_pb2.ModelInferResponse(model_name="scripted")
    for name, array in arrays.items():
        message.outputs.add(name=name, datatype=datatypes[array.dtype], shape=array.shape)
        is_bytes = array.dtype == np.object_
        raw = serialize_byte_tensor(array).item() if is_bytes and array.size else array.tobytes() if array.size else b""
        message.raw_output_contents.append(raw)
    return message


def serve(triton: ScriptedTriton, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> grpc.Server:
    """Start a server on a port, 0 for a free one, and tell `triton` where it is."""
    longest = 128 * 2**20
    server = grpc.server(
        ThreadPoolExecutor(4),
        options=[("grpc.max_receive_message_length", longest), ("grpc.max_send_message_length", longest)],
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    address = f"127.0.0.1:{port}"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    triton.url = f"127.0.0.1:{port}"
    server.start()
    return server


COMPOSED, TURNED = ("red", "green"), ("orange", "blue")


def views(count: int):
    """An engine's answer of so many views."""
    parts = {"mask": texts(picture("black")), "cut_out": texts(picture("gray"))}
    each = [
        event(view=view, image=texts(picture(COMPOSED[view])), novel_view=texts(picture(TURNED[view])))
        for view in range(count)
    ]
    background = event("background", background=texts(picture("brown")))
    done = event("done", notes=texts("view 0 was found by its colour"))
    return lambda arrays, context: [event("segmentation", **parts), background, *each, done]
