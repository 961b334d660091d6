"""`respin batch`: many photos, a manifest, and a second run that does what is missing."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from scripted_triton import WAIT_S, ScriptedTriton, picture, serve, texts

from respin.request import RotationRequest

PHOTOS = 200
TURN = ("--class-name", "chair", "--azimuth", "80", "--output", "out")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Write photos, each of its own content, into the working directory; their names are relative to it."""
    monkeypatch.chdir(tmp_path)

    def write(*names: str) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(name.encode())

    return write


@pytest.fixture
def many(photos):
    photos(*(f"photos/{number:03}.jpg" for number in range(PHOTOS)))


def turned(photo: bytes, view: int = 0) -> bytes:
    """What the double makes of a photo."""
    return b"turned %d " % view + photo


def answer(arrays, context):
    """The double's answer: as many pictures as there are views."""
    views = arrays["azimuth"].size if "azimuth" in arrays else 1
    return {"image": texts(*(turned(arrays["image"].item(), view) for view in range(views)))}


@pytest.fixture
def turning(triton):
    triton.reply = answer
    return triton


def records(folder):
    return [json.loads(line) for line in (folder / "out/manifest.jsonl").read_bytes().splitlines()]


def pictures(folder):
    """Every picture by its path in the output folder."""
    files = [path for path in (folder / "out").rglob("*") if path.is_file() and path.suffix != ".jsonl"]
    return {path.relative_to(folder / "out").as_posix(): path.read_bytes() for path in files}


def asked(triton) -> Counter[bytes]:
    return Counter(call.arrays["image"].item() for call in triton.heard)


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


def test_photos_of_one_name_in_different_folders_have_files_of_their_own(tmp_path, photos, turning, respin):
    photos("a/x.jpg", "b/x.jpg", "b/X.jpg", "c/x_2.jpg")
    files = ("a/x.jpg", "b/x.jpg", "b/X.jpg", "c/x_2.jpg")
    assert respin("batch", *files, *TURN, "--url", turning.url)[0] == 0
    assert pictures(tmp_path) == {
        "x.png": turned(b"a/x.jpg"),
        "x_2.png": turned(b"b/x.jpg"),
        "X_3.png": turned(b"b/X.jpg"),
        "x_2_2.png": turned(b"c/x_2.jpg"),
    }
    turning.heard.clear()
    assert respin("batch", *reversed(files), *TURN, "--url", turning.url)[0] == 0
    assert turning.heard == [], "every photo keeps its files whatever the order"


def test_a_folder_keeps_its_folders(tmp_path, photos, turning, respin):
    photos("photos/x.jpg", "photos/deep/x.JPEG", "photos/deep/y.webp", "photos/.hidden/z.png", "photos/notes.txt")
    assert respin("batch", "photos", *TURN, "--url", turning.url)[0] == 0
    assert sorted(pictures(tmp_path)) == ["deep/x.png", "deep/y.png", "x.png"]


def test_a_pattern_keeps_the_folders_below_its_fixed_part(tmp_path, photos, turning, respin):
    photos("shop/a/x.jpg", "shop/b/c/x.jpg", "shop/b/y.png")
    assert respin("batch", "shop/**/*.jpg", *TURN, "--url", turning.url)[0] == 0
    assert sorted(pictures(tmp_path)) == ["a/x.png", "b/c/x.png"]


def test_outputs_below_the_photos_are_no_photos_of_the_next_run(tmp_path, photos, turning, respin):
    photos("x.jpg")
    assert [respin("batch", ".", *TURN, "--url", turning.url)[0] for _ in range(2)] == [0, 0]
    assert asked(turning) == Counter([b"x.jpg"])


LISTS = {
    "csv": "image,class_name,box,azimuth,seed\nx.jpg,chair,1 2 30 40,80,\nx.jpg,,,-40 40,7\n../y.jpg,sofa,,,\n",
    "jsonl": """{"image": "x.jpg", "class_name": "chair", "box": [1, 2, 30, 40], "azimuth": 80, "seed": null}
{"image": "x.jpg", "azimuth": [-40, 40], "seed": 7}

{"image": "../y.jpg", "class_name": "sofa"}
""",
}


@pytest.mark.parametrize("form", LISTS)
def test_a_list_has_a_row_for_each_job(tmp_path, photos, turning, respin, form):
    photos("shop/x.jpg", "y.jpg")
    (tmp_path / f"shop/list.{form}").write_text(LISTS[form])
    flags = ("--class-name", "lamp", "--output-format", "jpeg", "--output", "out", "--url", turning.url)
    code, _, complained = respin("batch", f"shop/list.{form}", *flags)
    assert (code, complained) == (0, "")
    assert pictures(tmp_path) == {
        "x.jpg": turned(b"shop/x.jpg"),
        "x-0.jpg": turned(b"shop/x.jpg"),
        "x-1.jpg": turned(b"shop/x.jpg", 1),
        "y.jpg": turned(b"y.jpg"),
    }
    sent = {RotationRequest.from_arrays(call.arrays) for call in turning.heard}
    assert sent == {
        RotationRequest(b"shop/x.jpg", "chair", (80.0,), box=(1, 2, 30, 40), output_format="jpeg"),
        RotationRequest(b"shop/x.jpg", "lamp", (-40.0, 40.0), seed=7, output_format="jpeg"),
        RotationRequest(b"y.jpg", "sofa", output_format="jpeg"),
    }


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "image,angle\nx.jpg,80\n", "a.csv line 1: unknown field 'angle'; the fields are image, class_name"),
        ("a.csv", "class_name\nchair\n", "a.csv line 1: there is no 'image'"),
        ("a.csv", "image,image\nx.jpg,x.jpg\n", "a.csv line 1: a field is named twice"),
        ("a.csv", "image,class_name\nx.jpg,chair\n,chair\n", "a.csv line 3: image is empty"),
        ("a.csv", "image\nx.jpg,80\n", "a.csv line 2 has 2 cells, and the first line names 1 columns"),
        ("a.csv", "image,azimuth\nx.jpg,right\n", "a.csv line 2: azimuth is 'right'; write one or several numbers"),
        ("a.csv", "image,azimuth\nx.jpg,999\n", "a.csv line 2: azimuth is 999; send -360 to 360"),
        ("a.csv", "image,box\nx.jpg,1 2 3\n", "a.csv line 2: box has 3 numbers; send 4"),
        ("a.csv", 'image\n"x.jpg\n', "the list 'a.csv' is not CSV"),
        ("a.csv", "image\n", "the list 'a.csv' has no rows"),
        ("a.jsonl", "x.jpg\n", "a.jsonl line 1 is not JSON"),
        ("a.jsonl", '["x.jpg"]\n', "a.jsonl line 1 is no JSON object"),
        ("a.jsonl", '{"image": "x.jpg", "steps": true}\n', "a.jsonl line 1: steps is True; write an integer"),
        ("a.jsonl", '{"image": "x.jpg", "box": "1 2 3 4"}\n', "a.jsonl line 1: box is '1 2 3 4'; write four numbers"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_before_anything_is_sent(
    photos, turning, respin, *, name, content, sentence
):
    photos("x.jpg")
    Path(name).write_text(content)
    code, printed, complained = respin("batch", "x.jpg", name, *TURN, "--url", turning.url)
    assert (code, printed, complained.count("\n")) == (2, "", 1)
    assert complained.startswith(f"respin: {sentence}")
    assert turning.heard == []
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none.jpg", *TURN), "there is no 'none.jpg'"),
        (("none/*.jpg", *TURN), "'none/*.jpg' has no photo"),
        (("none.csv", *TURN), "cannot read the list 'none.csv' (No such file or directory)"),
        (("x.jpg", "--output", "out"), "x.jpg has no class_name; give --class-name"),
        (("x.jpg", *TURN, "--steps", "1"), "x.jpg: steps is 1; send 2 to 250"),
        (("x.jpg", *TURN, "--concurrency", "29"), "concurrency is 29; send 1 to 28"),
        (("x.jpg", *TURN, "--wait-s", "-1"), "wait_s is -1.0; send a number of seconds"),
        (("x.jpg", *TURN, "--output", "x.jpg"), "cannot make the folder 'x.jpg'"),
        (("x.jpg", *TURN, "--output", ".", "--output-format", "jpeg"), "'x.jpg' is one of the photos"),
    ],
)
def test_the_callers_mistakes_are_one_line_and_code_2(photos, turning, respin, arguments, sentence):
    photos("x.jpg")
    code, printed, complained = respin("batch", *arguments, "--url", turning.url)
    assert (code, printed, complained.count("\n")) == (2, "", 1)
    assert complained.startswith(f"respin: {sentence}")
    assert turning.heard == []


def test_a_photo_that_is_not_there_is_that_rows_failure(tmp_path, photos, turning, respin):
    photos("x.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "list.csv").write_text("image\nnone.jpg\nx.jpg\nempty.jpg\n")
    code, printed, complained = respin("batch", "list.csv", *TURN, "--url", turning.url)
    assert code == 1
    assert "3 photos: 1 done, 2 failed" in printed
    assert "none.jpg' (No such file or directory)" in complained
    assert "empty.jpg: image has 0 bytes" in complained


def test_a_manifest_torn_in_its_last_line_is_read(tmp_path, photos, turning, respin):
    photos("x.jpg", "y.jpg")
    run = ("batch", "x.jpg", "y.jpg", *TURN, "--concurrency", "1", "--url", turning.url)
    assert respin(*run)[0] == 0
    manifest = tmp_path / "out/manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    turning.heard.clear()
    assert respin(*run)[0] == 0
    assert asked(turning) == Counter([b"y.jpg"])
    assert [record["status"] for record in records(tmp_path)] == ["done", "done"]


def test_a_manifest_that_is_none_is_refused(tmp_path, photos, turning, respin):
    photos("x.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.jsonl").write_text('{"name": "a web app"}\n')
    code, _, complained = respin("batch", "x.jpg", *TURN, "--url", turning.url)
    assert code == 2
    assert "manifest.jsonl' line 1 is no record of a batch" in complained


def test_what_changed_or_was_removed_is_made_again(tmp_path, photos, turning, respin):
    photos("x.jpg", "y.jpg", "z.jpg")
    run = ("batch", "x.jpg", "y.jpg", "z.jpg", *TURN, "--url", turning.url)
    assert respin(*run)[0] == 0
    turning.heard.clear()
    (tmp_path / "x.jpg").write_bytes(b"another photo")
    (tmp_path / "out/y.png").unlink()
    assert respin(*run)[0] == 0
    assert asked(turning) == Counter([b"another photo", b"y.jpg"])
    assert pictures(tmp_path)["x.png"] == turned(b"another photo")


def test_another_request_for_the_same_photos_replaces_nothing(tmp_path, photos, turning, respin):
    photos("x.jpg")
    run = ("batch", "x.jpg", *TURN, "--url", turning.url)
    assert [respin(*run)[0], respin(*run, "--seed", "7")[0], respin(*run)[0]] == [0, 0, 0]
    assert sorted(pictures(tmp_path)) == ["x.png", "x_2.png"]
    assert len(turning.heard) == 2


def test_a_photo_that_is_named_twice_is_done_once(photos, turning, respin):
    photos("photos/x.jpg")
    code, printed, _ = respin("batch", "photos", "photos/x.jpg", *TURN, "--url", turning.url)
    assert code == 0
    assert "1 photos: 1 done" in printed
    assert len(turning.heard) == 1


def test_a_name_that_is_no_utf_8_is_a_name(tmp_path, photos, turning, respin):
    photos("x.jpg")
    (tmp_path / "x.jpg").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))
    run = ("batch", ".", *TURN, "--url", turning.url)
    assert [respin(*run)[0] for _ in range(2)] == [0, 0]
    assert len(turning.heard) == 1


def test_a_server_that_is_not_there_is_code_1_after_the_wait(photos, respin, nobody):
    photos("x.jpg")
    code, printed, complained = respin("batch", "x.jpg", *TURN, "--wait-s", "0", "--url", nobody)
    assert code == 1
    assert complained.startswith(f"waiting up to 0 s for the server: no server answers at {nobody}")
    assert "1 photos: 1 failed" in printed


def test_an_answer_that_lacks_a_view_is_a_failure(tmp_path, photos, turning, respin):
    photos("x.jpg")
    turning.reply = lambda arrays, context: {"image": texts(picture("red"))}
    code, _, complained = respin("batch", "x.jpg", *TURN, "--azimuth", "40", "--url", turning.url)
    assert code == 1
    assert "the server sent 1 of 2 views" in complained
    assert pictures(tmp_path) == {}
