"""`respin batch` on the real server, which is killed in between."""

import json
import os
import signal
import subprocess
import sys
from io import BytesIO

import pytest
from mini_server import serve
from PIL import Image

pytestmark = pytest.mark.triton

PHOTOS = 6
BOX = ("165", "12", "428", "312")


@pytest.fixture
def photos(tmp_path, coffee):
    """Photos that differ in their size, so that no cache answers for another."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(PHOTOS):
        with Image.open(BytesIO(coffee)) as photo:
            photo.crop((0, 0, 600 - number, 400)).save(folder / f"{number}.png")
    return folder


def test_a_server_that_is_killed_costs_only_what_it_had_in_hand(tmp_path, photos):
    quick = ("--steps", "10", "--background-steps", "2", "--wait-s", "0", "--concurrency", "2")
    request = ("--class-name", "coffee cup", "--box", *BOX, "--azimuth", "80", *quick)
    command = [sys.executable, "-m", "respin_client", "batch", str(photos), *request, "--output", str(tmp_path / "out")]
    manifest = tmp_path / "out/manifest.jsonl"
    with serve("local", tmp_path / "first", exit_timeout_s=1) as server:
        url = ("--url", str(server.endpoints["gRPC"]))
        with subprocess.Popen([*command, *url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            assert "wrote" in run.stdout.readline()
            os.kill(server.pid, signal.SIGKILL)
            printed, complained = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "stopped waiting for the server" in complained
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    done = [line["outputs"] for line in lines if line["status"] == "done"]
    assert 0 < len(done) < PHOTOS, printed
    with serve("local", tmp_path / "second", exit_timeout_s=1) as server:
        url = ("--url", str(server.endpoints["gRPC"]))
        again = subprocess.run([*command, *url], capture_output=True, text=True, timeout=120, check=True)
    assert f"{PHOTOS - len(done)} done, {len(done)} done before" in again.stdout
    for number in range(PHOTOS):
        with Image.open(tmp_path / f"out/{number}.png") as picture:
            assert picture.size == (600 - number, 400)
