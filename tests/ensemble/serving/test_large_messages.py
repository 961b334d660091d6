"""What large photos leave behind: memory that their refusal does not give back would fill the machine."""

import os

import numpy as np
import psutil
import pytest
from serve_command import ENGINE, PROXY
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from respin.shared_memory import STUB_MIB
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


def refuse(server, model: str) -> None:
    """Send a large file that is no photo."""
    arrays = {"image": np.array([bytes(LARGE_MIB * MIB)], object), "class_name": np.array([b"cup"], object)}
    inputs = []
    for name, array in arrays.items():
        inputs.append(triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array)
    with triton.InferenceServerClient(str(server.endpoints["gRPC"])) as client:
        answers = []
        if model == PROXY:
            with pytest.raises(InferenceServerException, match="not a JPEG, PNG or WebP"):
                client.infer(model, inputs)
            return
        client.start_stream(lambda result, error: answers.append(error))
        client.async_stream_infer(model, inputs)
        client.stop_stream()
        assert "not a JPEG, PNG or WebP" in answers[0].message()


@pytest.mark.parametrize("model", [ENGINE, PROXY])
def test_a_refused_message_is_forgotten_and_its_shared_memory_serves_the_next(server, model):
    for _ in range(2):
        refuse(server, model)
    shared, private = shared_mib(server), private_mib(server)
    for _ in range(TIMES):
        refuse(server, model)
    assert shared_mib(server) <= shared + STUB_MIB
    assert private_mib(server) <= private + LARGE_MIB
