"""`respin batch`: many photos, a manifest, and a second run that does what is missing."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress

import grpc
import pytest
from batch_jobs import TURN, answer, asked, pictures, records, turned
from scripted_triton import WAIT_S, ScriptedTriton, picture, serve, texts

PHOTOS = 200


@pytest.fixture
def many(photos):
    photos(*(f"photos/{number:03}.jpg" for number in range(PHOTOS)))


def test_a_server_killed_in_between_costs_nothing_that_was_done(tmp_path, many, respin):
    first = ScriptedTriton()
    server = serve(first)

    def dies_at_the_80th(arrays, context):
        if len(first.heard) == 80:
            threading.Thread(target=server.stop, args=(None,)).start()
        return answer(arrays, context)

    first.reply = dies_at_the_80th
    code, printed, complained = respin("batch", "photos", *TURN, "--url", first.url, "--wait-s", "0")
    server.stop(None).wait(WAIT_S)
    assert code == 1
    done = [record for record in records(tmp_path) if record["status"] == "done"]
    assert 0 < len(done) < PHOTOS
    assert f"{PHOTOS} photos: {len(done)} done, " in printed
    assert "stopped waiting for the server: " in complained
    assert "the same command again does what is missing" in complained

    second = ScriptedTriton(reply=answer)
    server = serve(second)
    code, printed, complained = respin("batch", "photos", *TURN, "--url", second.url)
    server.stop(None).wait(WAIT_S)
    assert (code, complained) == (0, "")
    assert f"{PHOTOS} photos: {PHOTOS - len(done)} done, {len(done)} done before; see out/manifest.jsonl" in printed
    missing = {f"photos/{number:03}.jpg" for number in range(PHOTOS)}
    missing -= {os.path.relpath(record["photo"], tmp_path) for record in done}
    assert asked(second) == Counter(name.encode() for name in missing), "each missing photo once, and no other"
    assert pictures(tmp_path) == {f"{n:03}.png": turned(b"photos/%03d.jpg" % n) for n in range(PHOTOS)}


def test_on_a_terminal_every_line_stands_above_the_bar(tmp_path, photos, turning):
    photos(*(f"photos/{number}.jpg" for number in range(9)))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "respin_client", "batch", "photos", *TURN, "--url", turning.url],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
    ):
        os.close(theirs)
        drawn = b""
        # The end of a pseudo-terminal is an error.
        with suppress(OSError):
            while more := os.read(ours, 65536):
                drawn += more
    os.close(ours)
    assert drawn.count(b"wrote out/") == 9
    before = re.findall(rb"(.{4})wrote out/", drawn, re.DOTALL)
    assert {each[-1:] for each in before} <= {b"\n", b"K"}, before
    assert drawn.rstrip().endswith(b"9 photos: 9 done; see out/manifest.jsonl")


def test_what_the_server_says_of_every_photo_is_printed_once(photos, turning, respin):
    photos("photos/0.jpg", "photos/1.jpg")
    turning.reply = lambda arrays, context: {
        **answer(arrays, context),
        "notes": texts("mini: trained on rendered scenes", f"only of {arrays['image'].item().decode()}"),
    }
    _, printed, _ = respin("batch", "photos", *TURN, "--url", turning.url)
    assert [line for line in printed.splitlines() if "note" in line] == ["note: mini: trained on rendered scenes"]


def test_a_server_that_comes_back_is_waited_for(tmp_path, many, respin):
    first, second = ScriptedTriton(), ScriptedTriton(reply=answer)
    servers = [serve(first)]
    port = int(first.url.rpartition(":")[2])

    def restart():
        servers[0].stop(None).wait(WAIT_S)
        servers.append(serve(second, port=port))

    restarting = threading.Thread(target=restart)

    def dies_at_the_80th(arrays, context):
        if len(first.heard) == 80:
            restarting.start()
        return answer(arrays, context)

    first.reply = dies_at_the_80th
    code, printed, _ = respin("batch", "photos", *TURN, "--url", first.url)
    restarting.join(WAIT_S)
    servers[1].stop(None).wait(WAIT_S)
    assert code == 0
    assert f"{PHOTOS} photos: {PHOTOS} done; see" in printed
    assert second.heard
    assert len(pictures(tmp_path)) == len(records(tmp_path)) == PHOTOS


def test_one_failure_stops_no_other_photo_and_is_asked_for_once(tmp_path, many, turning, respin):
    def reply(arrays, context):
        if arrays["image"].item() == b"photos/007.jpg":
            context.abort(grpc.StatusCode.NOT_FOUND, "no chair in the photo")
        return answer(arrays, context)

    turning.reply = reply
    code, printed, complained = respin("batch", "photos", *TURN, "--quiet", "--url", turning.url)
    photo = str(tmp_path / "photos/007.jpg")
    failed = f"failed {photo}: no chair in the photo\n"
    assert (code, complained) == (1, f"{failed}the same command again does what is missing\n")
    assert printed == f"{PHOTOS} photos: {PHOTOS - 1} done, 1 failed; see out/manifest.jsonl\n"
    assert asked(turning)[b"photos/007.jpg"] == 1
    (record,) = [record for record in records(tmp_path) if record["status"] == "failed"]
    assert (record["photo"], record["code"], record["error"]) == (photo, "NOT_FOUND", "no chair in the photo")
    assert record["seconds"] >= 0
    turning.heard.clear()
    turning.reply = answer
    assert respin("batch", "photos", *TURN, "--url", turning.url)[0] == 0
    assert asked(turning) == Counter([b"photos/007.jpg"])


@pytest.mark.parametrize("status", [grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED], ids=lambda each: each.name)
def test_a_failure_of_the_servers_is_tried_again(tmp_path, photos, turning, respin, status):
    photos("a.jpg")

    def reply(arrays, context):
        if len(turning.heard) == 1:
            context.abort(status, "a network died")
        return answer(arrays, context)

    turning.reply = reply
    assert respin("batch", "a.jpg", *TURN, "--url", turning.url)[0] == 0
    assert len(turning.heard) == 2


def test_a_failure_of_the_servers_that_stays_is_recorded(tmp_path, photos, turning, respin):
    photos("a.jpg")
    turning.reply = lambda arrays, context: context.abort(grpc.StatusCode.INTERNAL, "reference 1234")
    code, _, complained = respin("batch", "a.jpg", *TURN, "--url", turning.url)
    assert code == 1
    assert "reference 1234" in complained
    assert [(record["status"], record["code"]) for record in records(tmp_path)] == [("failed", "INTERNAL")]
    assert len(turning.heard) == 3


def test_ctrl_c_leaves_a_good_manifest_and_says_how_to_go_on(tmp_path, many, turning):
    go_on = threading.Event()

    def stuck_at_the_50th(arrays, context):
        if len(turning.heard) >= 50:
            go_on.wait(WAIT_S)
        return answer(arrays, context)

    turning.reply = stuck_at_the_50th
    command = [sys.executable, "-m", "respin_client", "batch", "photos", *TURN, "--url", turning.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if len(turning.heard) >= 50 and "wrote" in line:
                break
        run.send_signal(signal.SIGINT)
        printed, complained = run.communicate(timeout=60)
    go_on.set()
    assert run.returncode == 130
    assert complained == "the same command again does what is missing\n"
    done = [record for record in records(tmp_path)]
    assert {record["status"] for record in done} == {"done"}
    assert f"{PHOTOS} photos: {len(done)} done, {PHOTOS - len(done)} left; see out/manifest.jsonl\n" in printed
    turning.heard.clear()
    again = subprocess.run([*command, "--quiet"], capture_output=True, text=True, check=True)
    assert f"{PHOTOS - len(done)} done, {len(done)} done before" in again.stdout
    assert len(turning.heard) == PHOTOS - len(done)


def test_no_more_requests_are_in_flight_than_asked_for(photos, turning, respin):
    photos(*(f"{number}.jpg" for number in range(12)))
    in_flight, most, full = threading.Semaphore(3), [], threading.Barrier(3)

    def reply(arrays, context):
        most.append(in_flight.acquire(blocking=False))
        full.wait(WAIT_S)
        in_flight.release()
        return answer(arrays, context)

    turning.reply = reply
    assert respin("batch", "*.jpg", *TURN, "--concurrency", "3", "--url", turning.url)[0] == 0
    assert most == [True] * 12


def test_a_server_that_is_not_there_is_code_1_after_the_wait(photos, respin, nobody):
    photos("x.jpg")
    code, printed, complained = respin("batch", "x.jpg", *TURN, "--wait-s", "0", "--url", nobody)
    assert code == 1
    assert complained.startswith(f"waiting up to 0 s for the server: no server answers at {nobody}")
    assert "1 photo: 1 failed" in printed


def test_an_answer_that_lacks_a_view_is_a_failure(tmp_path, photos, turning, respin):
    photos("x.jpg")
    turning.reply = lambda arrays, context: {"image": texts(picture("red"))}
    code, _, complained = respin("batch", "x.jpg", *TURN, "--azimuth", "40", "--url", turning.url)
    assert code == 1
    assert "the server sent 1 of 2 views" in complained
    assert pictures(tmp_path) == {}
