"""Failures of ours, and limits, are reported to the request that meets them."""

import re

import pytest
from mini_server import serve

from respin.errors import Busy, InternalError
from respin_client import Client

pytestmark = pytest.mark.triton


BUG = """
from respin_ensemble.pipeline import rotate_object

def object_on_white(*_, **__):
    return 1 / 0

rotate_object.object_on_white = object_on_white
"""


def test_a_bug_of_ours_becomes_a_reference_and_the_log_tells_the_rest(tmp_path, turn):
    server = serve("local", tmp_path, exit_timeout_s=1)
    code = server.options.repository / "rotate_object_stream" / "1" / "model.py"
    correct = code.read_text()
    code.unlink()
    code.write_text(correct + BUG)
    with server, Client(str(server.endpoints["gRPC"]), retries=0) as client:
        with pytest.raises(InternalError) as caught:
            client.rotate_object(turn(azimuth=(80.0,)))
        (reference,) = re.findall(r"the server failed at this job; .* under reference (\w+)$", str(caught.value))
        log = server.log_file.read_text()
        assert reference in log
        assert "ZeroDivisionError" in log
        assert client.segment_object(turn()).mask, "the engine lives on"


def test_one_job_too_many_is_refused_at_once_and_the_others_go_on(tmp_path, turn):
    server = serve("local", tmp_path, exit_timeout_s=1, max_jobs=1)
    with server, Client(str(server.endpoints["gRPC"]), retries=0) as client:
        stream = client.stream(turn(azimuth=(80.0,), steps=20))
        next(stream)
        with pytest.raises(Busy, match="the server has 1 jobs"):
            client.segment_object(turn())
        assert [event for event in stream if event.image]
        assert client.segment_object(turn()).mask
