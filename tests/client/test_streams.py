"""Streams: events in order, cancelled when left, and errors that are not lost."""

from __future__ import annotations

import threading

import grpc
import pytest
from scripted_triton import WAIT_S, event, refusal, texts
from tritonclient.grpc import service_pb2

from respin_client import Busy, Client, DeadlineExceeded, InternalError, ObjectNotFound, request_from_photo

REQUEST = request_from_photo(b"a photo", "laptop", azimuth=80)


def test_a_stream_has_a_deadline_too(triton):
    def events(arrays, context):
        yield event("detection")
        triton.ended.wait(WAIT_S)

    triton.events = events
    with Client(triton.url, timeout_s=0.5) as client, pytest.raises(DeadlineExceeded):
        list(client.stream(REQUEST))
    assert triton.ended.wait(WAIT_S)


def test_events_come_in_the_order_they_were_sent(triton):
    triton.events = lambda arrays, context: [event(step=step, steps=75) for step in range(76)]
    with Client(triton.url) as client:
        assert [each.step for each in client.stream(REQUEST)] == list(range(76))


def test_an_event_is_there_before_the_next_is_made(triton):
    taken = threading.Event()

    def events(arrays, context):
        yield event("detection")
        assert taken.wait(WAIT_S)
        yield event("done")

    triton.events = events
    with Client(triton.url) as client:
        stream = client.stream(REQUEST)
        assert next(stream).stage == "detection"
        taken.set()
        assert [each.stage for each in stream] == ["done"]


def test_two_streams_share_a_connection(triton):
    triton.events = lambda arrays, context: [event(step=step) for step in range(3)]
    with Client(triton.url) as client:
        pairs = zip(client.stream(REQUEST), client.stream(REQUEST), strict=True)
        assert [(one.step, other.step) for one, other in pairs] == [(0, 0), (1, 1), (2, 2)]


def test_a_final_message_without_tensors_is_no_event(triton):
    final = service_pb2.ModelStreamInferResponse()
    final.infer_response.parameters["triton_final_response"].bool_param = True
    triton.events = lambda arrays, context: [event("done"), final]
    with Client(triton.url) as client:
        assert [each.stage for each in client.stream(REQUEST)] == ["done"]


def endless(arrays, context):
    while context.is_active():
        yield event()


@pytest.mark.parametrize("leave", [lambda stream, client: stream.close(), lambda stream, client: client.close()])
def test_leaving_a_stream_cancels_it_on_the_server(triton, leave):
    triton.events = endless
    with Client(triton.url) as client:
        stream = client.stream(REQUEST)
        next(stream)
        assert not triton.ended.is_set()
        leave(stream, client)
        assert triton.ended.wait(WAIT_S)


def test_a_stream_that_nobody_began_sends_nothing(triton):
    with Client(triton.url) as client:
        client.stream(REQUEST).close()
    assert triton.heard == []


def test_an_error_ends_a_stream_after_the_events_before_it(triton):
    def events(arrays, context):
        yield event("detection")
        yield refusal(grpc.StatusCode.NOT_FOUND, "no laptop in the photo; name another object")

    triton.events = events
    with Client(triton.url) as client:
        stream = client.stream(REQUEST)
        assert next(stream).stage == "detection"
        with pytest.raises(ObjectNotFound, match=r"^no laptop"):
            next(stream)
    assert "triton_grpc_error" not in triton.heard[0].headers


def test_a_full_server_on_a_stream_is_asked_again(triton):
    answers = iter([[refusal(grpc.StatusCode.UNAVAILABLE, "the server has 2 jobs")], [event("done")]])
    triton.events = lambda arrays, context: next(answers)
    with Client(triton.url) as client:
        assert [each.stage for each in client.stream(REQUEST)] == ["done"]


def test_a_job_whose_server_restarts_is_sent_again_and_its_views_arrive_once(triton):
    lost = iter([True])

    def events(arrays, context):
        yield event(step=1, steps=2)
        yield event(view=0, image=texts(b"first"))
        if next(lost, False):
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        yield event(view=1, image=texts(b"second"))

    triton.events = events
    with Client(triton.url) as client:
        arrived = list(client.stream(REQUEST))
    assert [(each.view, bytes(each.image)) for each in arrived if each.image] == [(0, b"first"), (1, b"second")]
    with Client(triton.url, retries=0) as client:
        lost = iter([True])
        with pytest.raises(Busy, match=r"connection to .* was lost"):
            list(client.stream(REQUEST))


def test_an_error_of_tritons_own_is_not_lost(triton):
    triton.events = lambda arrays, context: [service_pb2.ModelStreamInferResponse(error_message="out of memory")]
    with Client(triton.url) as client, pytest.raises(InternalError, match=r"^out of memory$"):
        list(client.stream(REQUEST))
