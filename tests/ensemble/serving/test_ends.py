"""How the models' processes end when the server is stopped."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from mini_server import serve
from serve_command import serve_command

from respin.contracts import JOBS
from respin.errors import Busy, InvalidInput
from respin_client import Client

pytestmark = pytest.mark.triton

ALWAYS_FULL = ("--restart-above-mib", "1", "--restarts", "0", "--exit-timeout-s", "60")
"""A limit that every server exceeds; no death may be survived, so that this restart cannot count as one."""


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


@pytest.mark.timeout(180)
def test_a_server_that_holds_too_much_memory_is_restarted_when_its_jobs_are_done(tmp_path, turn):
    with serve_command("local", tmp_path, *ALWAYS_FULL) as command:
        first = command.triton().pid
        patient, impatient = command.client(), command.client(retries=0)
        with patient, impatient, ThreadPoolExecutor(2) as callers:
            ends = [callers.submit(answers_until_restarted, command, patient, turn)]
            ends.append(callers.submit(long_jobs_until_restarted, command, impatient, turn))
            assert all(each.result() for each in ends)
        assert command.triton().pid != first
        assert any("the limit is 1; restarting the server once its jobs are done" in line for line in command.lines)


def answers_until_restarted(command, client, turn):
    """Ask again and again, through the restart; no call may fail."""
    answers = 0
    while not command.count("ready again"):
        answers += bool(client.rotate_object(turn(azimuth=(80.0,), seed=answers)).image)
    return answers


def long_jobs_until_restarted(command, client, turn):
    """One job after the other, none of them sent twice: one that has begun must end well, also during the restart."""
    answers = 0
    while not command.count("restarting"):
        events = client.stream(turn(azimuth=(80.0,), steps=200, seed=answers))
        try:
            next(events)
        except Busy:  # it came between the restart and the line that tells of it
            continue
        answers += any(event.image for event in list(events))
    return answers
