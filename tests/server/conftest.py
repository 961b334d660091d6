"""Tiny models on the real embedded server, and a way to ask them."""

import time

import numpy as np
import psutil
import pytest
from tritonclient import grpc as triton

from respin_server.launcher import EmbeddedTriton, ServerOptions

CONFIG = """
backend: "python"
max_batch_size: 0
input [{ name: "number" data_type: TYPE_FP32 dims: [ 1 ] }]
output [{ name: "number" data_type: TYPE_FP32 dims: [ 1 ] }]
instance_group [{ count: 1 kind: KIND_CPU }]
"""

ECHO = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        numbers = [pb_utils.get_input_tensor_by_name(request, "number").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("number", number)]) for number in numbers]
"""


@pytest.fixture(scope="session")
def add_model():
    def add(repository, name, code=ECHO):
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(CONFIG)
        (repository / name / "1" / "model.py").write_text(code)

    return add


@pytest.fixture(scope="session")
def embedded():
    """A server that is not started yet, on free ports, which stops as fast as it can."""

    def make(repository, progress=None, **options):
        ports = {"grpc_port": 0, "metrics_port": 0}
        return EmbeddedTriton(ServerOptions(repository, **{**ports, "exit_timeout_s": 5, **options}), progress)

    return make


@pytest.fixture(scope="session")
def echoed():
    """What a server's model answers."""

    def ask(server, number=7.0, model="echo", **connection):
        tensor = triton.InferInput("number", [1], "FP32")
        tensor.set_data_from_numpy(np.array([number], np.float32))
        with triton.InferenceServerClient(str(server.endpoints["gRPC"]), **connection) as client:
            return float(client.infer(model, [tensor], client_timeout=20).as_numpy("number")[0])

    return ask


@pytest.fixture(scope="session")
def reload():
    """Load a model again, as an operator with the admin key does."""

    def load_again(server, model="echo"):
        headers = {"triton-grpc-protocol-admin-key": server.admin_key}
        with triton.InferenceServerClient(str(server.endpoints["gRPC"])) as client:
            client.unload_model(model, headers=headers)
            client.load_model(model, headers=headers)

    return load_again


@pytest.fixture(scope="session")
def eventually():
    """Wait until something is so; the test fails if it is not within a minute."""

    def wait(condition, what):
        deadline_s = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline_s, f"not within 60 s: {what}"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def is_gone():
    def gone(pid):
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return gone
