"""The networks as Triton models of their own, asked directly."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from respin.contracts import NETWORKS

pytestmark = pytest.mark.triton


def enlarged(client, side: int, seed: int = 0, batch: int = 1):
    image = np.random.default_rng(seed).uniform(0, 255, (batch, 3, side, side)).astype(np.float32)
    tensor = triton.InferInput("image", image.shape, "FP32")
    tensor.set_data_from_numpy(image)
    return client.infer("edsr", [tensor]).as_numpy("upscaled")


def test_every_network_is_served_by_its_contract(cpu_triton_client):
    for spec in NETWORKS.values():
        told = cpu_triton_client.get_model_metadata(spec.name)
        assert [(tensor.name, tensor.datatype) for tensor in told.inputs] == [
            (tensor.name, tensor.dtype.value) for tensor in spec.inputs
        ]
        assert [list(tensor.shape)[1:] for tensor in told.outputs] == [list(tensor.dims) for tensor in spec.outputs]


def test_requests_of_one_batch_get_their_own_answers_whatever_their_sizes(cpu_triton_client):
    wanted = [(32, 1), (40, 2), (32, 3), (48, 4)]
    alone = [enlarged(cpu_triton_client, side, seed) for side, seed in wanted]
    with ThreadPoolExecutor(4) as users:
        together = list(users.map(lambda each: enlarged(cpu_triton_client, *each), wanted))
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_bad_request_in_a_batch_fails_alone(cpu_triton_client):
    good = enlarged(cpu_triton_client, 32)
    with ThreadPoolExecutor(8) as users:
        answers = [users.submit(enlarged, cpu_triton_client, side) for side in (32, 8, 32, 8, 32, 8, 32, 8)]
    for answer in answers[::2]:
        np.testing.assert_allclose(answer.result(), good, atol=1e-3)
    for answer in answers[1::2]:
        with pytest.raises(InferenceServerException, match=r"height 32\.\.512") as caught:
            answer.result()
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_batch_larger_than_the_contracts_is_refused(cpu_triton_client):
    with pytest.raises(InferenceServerException, match="batch"):
        enlarged(cpu_triton_client, 32, batch=9)
