"""What large photos leave behind: memory that their refusal does not give back would fill the machine."""

import os

import numpy as np
import psutil
import pytest
from mini_server import serve
from serve_command import ENGINE, PROXY
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from respin.errors import InvalidInput
from respin.shared_memory import STUB_MIB
from respin_client import Client
from respin_server import processes
from respin_server.leftovers import SHARED_MEMORY
from respin_server.stubs import living_instances

pytestmark = pytest.mark.triton

MIB = 2**20
LARGE_MIB, TIMES = 40, 6


def shared_mib(server) -> float:
    return sum(os.stat(region).st_size for region in SHARED_MEMORY.glob(f"{server.shm_prefix}*")) / MIB


def private_mib(server) -> float:
    """Memory of the engine and of the proxy that no other process shares."""
    pids = [pid for instance, pid in living_instances(server.pid).items() if instance.model in (ENGINE, PROXY)]
    return sum(psutil.Process(pid).memory_full_info().uss for pid in pids) / MIB


def refuse(server, model: str, size_mib: int = LARGE_MIB, told: str = "not a JPEG, PNG or WebP") -> None:
    """Send a large file that is no photo."""
    arrays = {"image": np.array([bytes(size_mib * MIB)], object), "class_name": np.array([b"cup"], object)}
    inputs = []
    for name, array in arrays.items():
        inputs.append(triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array)
    with triton.InferenceServerClient(str(server.endpoints["gRPC"])) as client:
        answers = []
        if model == PROXY:
            with pytest.raises(InferenceServerException, match=told):
                client.infer(model, inputs)
            return
        client.start_stream(lambda result, error: answers.append(error))
        client.async_stream_infer(model, inputs)
        client.stop_stream()
        assert told in answers[0].message()


@pytest.mark.parametrize("model", [ENGINE, PROXY])
def test_a_refused_message_is_forgotten_and_its_shared_memory_serves_the_next(server, model):
    for _ in range(2):
        refuse(server, model)
    shared, private = shared_mib(server), private_mib(server)
    for _ in range(TIMES):
        refuse(server, model)
    assert shared_mib(server) <= shared + STUB_MIB
    assert private_mib(server) <= private + LARGE_MIB


def test_a_photo_that_is_too_long_is_refused_by_the_proxy_without_a_copy_for_the_engine(tmp_path):
    with serve("local", tmp_path, exit_timeout_s=5) as server:
        shared = shared_mib(server)
        refuse(server, PROXY, 70, "image has 73400320 bytes; send 1 byte to 64 MiB")
        assert shared_mib(server) <= shared + 70 + 2 * STUB_MIB, "its region holds it once"


def test_streams_that_are_refused_leave_nothing_in_tritonserver(tmp_path, turn):
    """Of a stream that is cancelled in the moment of its error, Triton 2.51 now and then keeps the photo for good."""
    photo = turn(image=bytes(2 * MIB))
    with (
        serve("local", tmp_path, exit_timeout_s=5) as server,
        Client(str(server.endpoints["gRPC"]), retries=0) as client,
    ):

        def refuse_streams(times):
            for _ in range(times):
                with pytest.raises(InvalidInput, match="not a JPEG, PNG or WebP"):
                    list(client.stream(photo))

        refuse_streams(20)
        before = processes.private_mib(server.pid)
        refuse_streams(200)
        assert processes.private_mib(server.pid) <= before + 24
