"""How the models' processes end when the server is stopped."""

import contextlib

import pytest
from mini_server import serve

from respin.contracts import JOBS
from respin.errors import InvalidInput
from respin_client import Client

pytestmark = pytest.mark.triton


def report_crash(model, file):
    """Make a model write to a file where its process crashes."""
    told = f"{model.read_text()}\nimport faulthandler\nfaulthandler.enable(open({str(file)!r}, 'w'))\n"
    model.unlink()
    model.write_text(told)


@pytest.mark.parametrize("profile", ["cpu", "local"])
def test_processes_that_have_worked_end_without_a_crash(tmp_path, turn, profile):
    """What calls and metrics have left would be destroyed after the shared memory that it lies in."""
    server = serve(profile, tmp_path, exit_timeout_s=5)
    crashes = {model: tmp_path / f"{model}-crash" for model in JOBS}
    for model, file in crashes.items():
        report_crash(tmp_path / "repository" / model / "1" / "model.py", file)
    with server, Client(str(server.endpoints["gRPC"]), retries=0) as client:
        assert client.rotate_object(turn(azimuth=(80.0,))).image
        assert client.segment_object(turn()).mask
        for job in (client.rotate_object, client.segment_object, lambda request: list(client.stream(request))):
            with contextlib.suppress(InvalidInput):
                job(turn(box=(0.0, 0.0, 8000.0, 8000.0)))
    assert {model: file.read_text() for model, file in crashes.items()} == dict.fromkeys(JOBS, "")


@pytest.mark.timeout(120)
def test_a_model_that_does_not_unload_delays_a_stop_after_all_jobs_no_longer_than_a_moment(tmp_path, turn):
    """Where a caller left in the moment of its answer, Triton 2.51 waits for the whole exit timeout."""
    server = serve("local", tmp_path, exit_timeout_s=600)
    model = tmp_path / "repository" / "segment_object" / "1" / "model.py"
    hang = "import threading\nTritonPythonModel.finalize = lambda self: threading.Event().wait()\n"
    told = f"{model.read_text()}\n{hang}"
    model.unlink()
    model.write_text(told)
    with server, Client(str(server.endpoints["gRPC"]), retries=0) as client:
        assert client.rotate_object(turn(azimuth=(80.0,))).image
    assert not server.is_running()
