"""The client's gRPC transport against a real gRPC server."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from scripted_triton import WAIT_S, event, texts
from tritonclient.grpc import service_pb2

from respin_client import (
    Busy,
    Cancelled,
    Client,
    ContractMismatch,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    ObjectNotFound,
    request_from_photo,
)

PHOTO = b"a photo"
REQUEST = request_from_photo(PHOTO, "laptop", azimuth=80)

# More than gRPC keeps for another attempt unless told otherwise.
LARGE_PHOTO = bytes(2**20)


def aborts(code: grpc.StatusCode, details: str, times: int = 1_000):
    """A reply that fails as often as told, then says where the mask is."""
    left = iter(range(times))

    def reply(arrays, context):
        if next(left, None) is not None:
            context.abort(code, details)
        return {"mask": texts(b"the mask")}

    return reply


def until_it_ends(triton):
    """A reply that never comes, and lets the server go once the call has ended."""

    def reply(arrays, context):
        triton.ended.wait(WAIT_S)
        return {}

    return reply


def test_a_model_is_told_the_deadline_which_grpc_keeps_to_itself(triton):
    triton.reply = lambda arrays, context: {"image": texts(b"one")}
    triton.events = lambda arrays, context: [event("done")]
    with Client(triton.url) as client:
        client.rotate_object(REQUEST, timeout_s=2.5)
        list(client.stream(REQUEST, timeout_s=30))
    assert [call.timeout_us for call in triton.heard] == [2_500_000, 30_000_000]


def test_a_request_arrives_as_it_was_sent(triton):
    triton.reply = lambda arrays, context: {"image": texts(b"one", b"two")}
    request = request_from_photo(PHOTO, "ein Glas Wörter", azimuth=(-40, 40), box=(1, 2, 3, 4.5), seed=2**40)
    with Client(triton.url) as client:
        client.rotate_object(request)
    arrays = triton.heard[0].arrays
    assert {name: (array.dtype, array.tolist()) for name, array in arrays.items()} == {
        name: (array.dtype, array.tolist()) for name, array in request.to_arrays().items()
    }


def test_what_is_not_given_is_not_sent(triton):
    triton.reply = lambda arrays, context: {"image": texts(b"one")}
    with Client(triton.url) as client:
        client.rotate_object(request_from_photo(PHOTO, "laptop"))
    assert not {"azimuth", "polar", "box"} & set(triton.heard[0].arrays)


def test_only_the_outputs_asked_for_are_asked_of_the_server(triton):
    triton.reply = lambda arrays, context: {"score": np.array([0.5], np.float32), "notes": texts()}
    with Client(triton.url) as client:
        result = client.rotate_object(REQUEST, outputs=("score", "notes"))
    assert triton.heard[0].outputs == ["score", "notes"]
    assert (result.score, result.notes, result.image, result.mask) == (0.5, (), (), None)


def test_an_answer_of_many_pictures_may_be_long(triton):
    triton.reply = lambda arrays, context: {"image": texts(*[bytes(2**20)] * 64)}
    with Client(triton.url) as client:
        assert sum(map(len, client.rotate_object(REQUEST).image)) == 64 * 2**20


@pytest.mark.parametrize("photo", [PHOTO, LARGE_PHOTO], ids=["small photo", "photo past gRPC's retry buffer"])
def test_a_full_server_is_asked_again(triton, photo):
    triton.reply = aborts(grpc.StatusCode.UNAVAILABLE, "no room", times=2)
    with Client(triton.url) as client:
        assert client.segment_object(request_from_photo(photo, "laptop")).mask == b"the mask"
    assert len(triton.heard) == 3


@pytest.mark.parametrize("retries", [0, 1])
def test_a_server_that_stays_full_is_asked_as_often_as_told(triton, retries):
    triton.reply = aborts(grpc.StatusCode.UNAVAILABLE, "no room for another request; try again in a while")
    with Client(triton.url, retries=retries) as client, pytest.raises(Busy, match=r"^no room for another request"):
        client.segment_object(REQUEST)
    assert len(triton.heard) == 1 + retries


def test_a_retry_is_told_the_time_that_is_left(triton):
    triton.reply = aborts(grpc.StatusCode.UNAVAILABLE, "no room", times=1)
    with Client(triton.url) as client:
        client.segment_object(REQUEST, timeout_s=30)
    first, second = (call.timeout_us for call in triton.heard)
    assert first == 30_000_000
    assert second < first


def test_a_deadline_that_allows_no_retry_ends_in_the_servers_own_words(triton):
    triton.reply = aborts(grpc.StatusCode.UNAVAILABLE, "no room")
    with Client(triton.url) as client, pytest.raises(Busy, match=r"^no room$"):
        client.segment_object(REQUEST, timeout_s=0.3)
    assert len(triton.heard) == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (grpc.StatusCode.INTERNAL, "Stub process 'segment_object_0_0' is not healthy."),
        (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'segment_object' has no available versions"),
        (grpc.StatusCode.INTERNAL, "Failed for execute the inference request. Model 'segment_object' is not ready."),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
    ],
    ids=["dead process", "reload", "not ready", "connection lost"],
)
def test_a_server_in_trouble_is_asked_again_whatever_status_it_sends(triton, code, words):
    triton.reply = aborts(code, words, times=1)
    with Client(triton.url) as client:
        assert client.segment_object(REQUEST).mask == b"the mask"
    triton.reply = aborts(code, words)
    with Client(triton.url, retries=0) as client, pytest.raises(Busy, match=words):
        client.segment_object(REQUEST)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput),
        (grpc.StatusCode.NOT_FOUND, ObjectNotFound),
        (grpc.StatusCode.CANCELLED, Cancelled),
        (grpc.StatusCode.FAILED_PRECONDITION, ContractMismatch),
        (grpc.StatusCode.UNIMPLEMENTED, ContractMismatch),
        (grpc.StatusCode.PERMISSION_DENIED, InvalidInput),
        (grpc.StatusCode.INTERNAL, InternalError),
        (grpc.StatusCode.UNKNOWN, InternalError),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_refusal_keeps_the_servers_sentence_and_is_final(triton, code, error):
    triton.reply = aborts(code, "the photo is 3 px wide; send a larger one")
    with Client(triton.url) as client, pytest.raises(error, match=r"^the photo is 3 px wide; send a larger one$"):
        client.segment_object(REQUEST)
    assert len(triton.heard) == 1


def test_an_answer_longer_than_the_limit_says_what_to_do(triton):
    triton.reply = aborts(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max")
    with Client(triton.url) as client, pytest.raises(InvalidInput, match="larger than max; ask for fewer views"):
        client.segment_object(REQUEST)


def test_a_model_that_is_gone_is_no_missing_object(triton):
    triton.reply = aborts(grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'segment_object' is not found")
    with Client(triton.url) as client, pytest.raises(ContractMismatch, match="no Respin server"):
        client.segment_object(REQUEST)


def test_a_deadline_ends_the_call_here_and_on_the_server(triton):
    triton.reply = until_it_ends(triton)
    with Client(triton.url) as client, pytest.raises(DeadlineExceeded, match=r"within 0\.2 s; allow more time"):
        client.rotate_object(REQUEST, timeout_s=0.2)
    assert triton.ended.wait(WAIT_S)


def test_a_tensor_whose_bytes_do_not_make_up_its_shape_is_refused(triton):
    message = service_pb2.ModelStreamInferResponse()
    message.infer_response.outputs.add(name="box", datatype="FP32", shape=[4])
    message.infer_response.raw_output_contents.append(bytes(12))
    triton.events = lambda arrays, context: [message]
    with Client(triton.url) as client, pytest.raises(ContractMismatch, match=r"'box' cannot be read as FP32 \[4\]"):
        list(client.stream(REQUEST, outputs=("box",)))
