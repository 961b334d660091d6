"""The real server on the mini set: once for each profile that runs here."""

import numpy as np
import pytest
from mini_server import serve
from PIL import Image
from tritonclient import grpc as triton

from respin.bundled import bundled_path
from respin.request import RotationRequest
from respin_client import Client


@pytest.fixture(scope="session")
def cpu_server(tmp_path_factory):
    """Networks are Triton models of their own; one more model calls them for tests."""
    with serve("cpu", tmp_path_factory.mktemp("cpu"), probed=True) as server:
        yield server


@pytest.fixture(scope="session")
def local_server(tmp_path_factory):
    """Networks are sessions in the engine's process."""
    with serve("local", tmp_path_factory.mktemp("local")) as server:
        yield server


@pytest.fixture(scope="session", params=["cpu", "local"])
def server(request):
    """The same server both ways: no client can tell them apart."""
    return request.getfixturevalue(f"{request.param}_server")


def connected_to(server):
    return Client(str(server.endpoints["gRPC"]), retries=0, timeout_s=100)


@pytest.fixture
def client(server):
    with connected_to(server) as connected:
        yield connected


@pytest.fixture
def cpu_client(cpu_server):
    with connected_to(cpu_server) as connected:
        yield connected


@pytest.fixture
def triton_client(server):
    with triton.InferenceServerClient(str(server.endpoints["gRPC"])) as connected:
        yield connected


@pytest.fixture
def cpu_triton_client(cpu_server):
    with triton.InferenceServerClient(str(cpu_server.endpoints["gRPC"])) as connected:
        yield connected


@pytest.fixture(scope="session")
def coffee() -> bytes:
    return (bundled_path("examples") / "coffee.png").read_bytes()


@pytest.fixture(scope="session")
def coffee_pixels() -> np.ndarray:
    return np.asarray(Image.open(bundled_path("examples") / "coffee.png"))


@pytest.fixture
def turn(coffee):
    """A quick request for the cup, with whatever a test wants otherwise."""

    def request(**fields):
        quick = {"box": (165.0, 12.0, 428.0, 312.0), "steps": 3, "background_steps": 2}
        return RotationRequest(**{"image": coffee, "class_name": "coffee cup", **quick, **fields})

    return request
