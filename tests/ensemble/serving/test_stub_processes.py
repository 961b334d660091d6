"""What a stub learns of its siblings, what it closes, and how the engine is drained: without a server."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from patience import await_true

from respin_ensemble.serving.drain import Drain
from respin_ensemble.serving.processes import model_state


@pytest.fixture
def sibling(tmp_path):
    """A process with the arguments of the stub of a model "engine", whose server is this process."""
    script = tmp_path / "repository" / "engine" / "1" / "model.py"
    script.parent.mkdir(parents=True)
    script.write_text("import time; time.sleep(600)")
    with subprocess.Popen([sys.executable, str(script)]) as process:
        yield process
        process.kill()


def test_a_stopped_process_is_told_from_a_running_and_a_dead_one(sibling):
    def state():
        return model_state("engine", os.getpid())

    await_true(lambda: state() == "running", "the process runs")
    sibling.send_signal(signal.SIGSTOP)
    await_true(lambda: state() == "stopped", "it is stopped")
    sibling.send_signal(signal.SIGCONT)
    await_true(lambda: state() == "running", "it goes on")
    sibling.kill()
    # It stays a zombie until its parent asks for it, which Triton does not.
    await_true(lambda: state() == "dead", "it is dead")


def test_a_model_of_another_server_is_not_ours(sibling):
    await_true(lambda: model_state("engine", os.getpid()) == "running", "the process runs")
    assert model_state("engine", os.getppid()) == "dead"
    assert model_state("another", os.getpid()) == "dead"


def test_inherited_sockets_are_closed_and_files_stay_open(tmp_path):
    script = (
        "import os, sys; from respin_ensemble.serving.processes import close_inherited_sockets; "
        "close_inherited_sockets(); "
        "print([os.path.exists(f'/proc/self/fd/{number}') for number in sys.argv[1:]])"
    )
    with socket.socket() as inherited, (tmp_path / "log").open("w") as log:
        numbers = (inherited.fileno(), log.fileno())
        ran = subprocess.run(
            [sys.executable, "-c", script, *map(str, numbers)],
            pass_fds=numbers,
            check=True,
            capture_output=True,
            text=True,
        )
    assert ran.stdout.strip() == "[False, True]"


def test_the_launchers_wish_is_answered_when_no_job_is_left(tmp_path):
    file = tmp_path / "drain"
    drain = Drain(file)
    drain.poll(jobs=1)
    assert not drain.requested
    file.touch()
    drain.poll(jobs=1)
    assert drain.requested
    assert file.exists()
    drain.poll(jobs=0)
    assert not file.exists()
    assert drain.requested, "for good: the server is about to be stopped"


def test_an_engine_without_a_launcher_is_never_drained():
    drain = Drain()
    drain.poll(jobs=0)
    assert not drain.requested
