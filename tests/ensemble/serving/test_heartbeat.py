"""An engine shows that it works; one that hangs is noticed, and its server started again."""

import threading

import pytest
from mini_server import serve
from patience import await_true
from serve_command import ENGINE

from respin_client import Client
from respin_ensemble.serving.heartbeat import BEAT_S, Heartbeat
from respin_server.supervisor import Supervisor

HANG = """
import ctypes, pathlib, threading, time

def hang():
    while not pathlib.Path({file!r}).exists():
        time.sleep(0.05)
    ctypes.PyDLL(None).sleep(3600)  # with the lock of the interpreter

threading.Thread(target=hang, daemon=True).start()
"""


def test_the_file_is_touched_at_most_twice_a_second(tmp_path):
    file, now_s = tmp_path / "heartbeat", [100.0]
    heartbeat = Heartbeat(file, clock=lambda: now_s[0])
    heartbeat.beat()
    file.unlink()
    heartbeat.beat()
    assert not file.exists()
    now_s[0] += BEAT_S
    heartbeat.beat()
    assert file.exists()


def test_without_a_launcher_nothing_is_touched_and_a_folder_that_is_gone_is_no_failure(tmp_path):
    Heartbeat().beat()
    Heartbeat(tmp_path / "gone" / "heartbeat").beat()


@pytest.mark.triton
def test_an_engine_that_hangs_without_dying_is_noticed_and_restarted(tmp_path, turn):
    server, wish = serve("local", tmp_path, exit_timeout_s=5), tmp_path / "hang"
    model = tmp_path / "repository" / ENGINE / "1" / "model.py"
    text = model.read_text() + HANG.format(file=str(wish))
    model.unlink()
    model.write_text(text)
    events, happened = [], threading.Event()

    def note(event):
        events.append(event)
        happened.set()

    with server, Client(str(server.endpoints["gRPC"]), timeout_s=100) as client:
        with Supervisor(server, note, hung_s=20.0):
            first = server.heartbeat()
            await_true(lambda: server.heartbeat() != first, "an idle engine shows that it works")
            assert client.segment_object(turn()).mask
            assert events == []
            wish.touch()
            assert happened.wait(120)
        assert [(event.kind, event.needs_restart) for event in events] == [("hung", True)]
        wish.unlink()
        server.restart()
        assert client.segment_object(turn()).mask
