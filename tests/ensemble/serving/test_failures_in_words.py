"""Whatever fails within the server: the caller reads a sentence and a reference, the rest is in the log."""

import re

import pytest
from mini_server import serve
from refusals import assert_shows_nothing

from respin.errors import InternalError
from respin_client import Client

pytestmark = pytest.mark.triton

FAILING = """
from respin.errors import InternalError
from respin_ensemble.serving import engine

REGION = "Failed to increase the shared memory pool size for key 'respin_shm_region_7' to 9 bytes"

def of_our_own():
    raise InternalError("a novel view came out blank; try another seed, or more steps")

def network():
    try:
        raise RuntimeError("[ONNXRuntimeError] : 6 : /home/someone/model.onnx line 7 at 0x7f0000000000")
    except RuntimeError as error:
        raise InternalError(f"edsr failed: {error}") from error

def path():
    raise InternalError("no vocabulary in /usr/lib/python3; install respin again")

def bug():
    raise KeyError("/srv/secret.py")

def memory():
    raise RuntimeError(REGION)

def quoted():
    raise InternalError("sam_encoder failed: " + REGION) from RuntimeError(REGION)

def lines():
    raise InternalError("it failed\\nTraceback (most recent call last):\\n  File 'x.py'")

def fail(context, request, report):
    globals()[request.class_name.replace(" ", "_")]()

engine.rotate_object = fail
"""

REFERENCE = r"; the server's log has the details under reference \w{8}"
SAID = {
    "of our own": "a novel view came out blank; try another seed, or more steps",
    "network": "edsr failed" + REFERENCE,
    "path": "the server failed at this job" + REFERENCE,
    "bug": "the server failed at this job" + REFERENCE,
    "memory": "the server failed at this job" + REFERENCE,
    "quoted": "sam_encoder failed" + REFERENCE,
    "lines": "the server failed at this job" + REFERENCE,
}


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    server = serve("local", tmp_path_factory.mktemp("failing"), exit_timeout_s=1)
    code = server.options.repository / "rotate_object_stream" / "1" / "model.py"
    correct = code.read_text()
    code.unlink()
    code.write_text(correct + FAILING)
    with server:
        yield server


@pytest.mark.parametrize(("kind", "said"), SAID.items(), ids=SAID)
def test_a_failure_is_told_without_what_only_the_log_may_hold(failing, turn, kind, said):
    request = turn(class_name=kind, azimuth=(80.0,))
    with Client(str(failing.endpoints["gRPC"]), retries=0) as client:
        for ask in (client.rotate_object, client.segment_object, lambda each: list(client.stream(each))):
            with pytest.raises(InternalError) as caught:
                ask(request)
            assert re.fullmatch(said, str(caught.value)), str(caught.value)
            assert_shows_nothing(str(caught.value))
            for reference in re.findall(r"reference (\w+)", str(caught.value)):
                assert reference in failing.log_file.read_text()
