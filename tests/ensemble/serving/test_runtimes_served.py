"""One job through the server with each runtime of the engine's process that runs here."""

import io
from pathlib import Path

import numpy as np
import pytest
from mini_server import serve
from PIL import Image

from respin_client import Client
from respin_server.server_log import loading_now

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def torch_server(tmp_path_factory):
    with serve("local", tmp_path_factory.mktemp("torch"), runtime="torch", unet_batch=2) as server:
        yield server


def pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")).astype(int)


def engine_maps(server):
    """The files that the engine's process has loaded."""
    for children in Path(f"/proc/{server.pid}/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"rotate_object_stream" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return Path(f"/proc/{pid}/maps").read_text()
    raise AssertionError("there is no engine")


def test_a_job_by_pytorchs_modules_gets_the_picture_of_onnx_runtimes(torch_server, local_server, turn):
    request = turn(azimuth=(20, 40, 60))
    images = []
    for server in (torch_server, local_server):
        with Client(str(server.endpoints["gRPC"]), retries=0, timeout_s=250) as client:
            images.append(pixels(client.rotate_object(request).image[0]))
    ours, theirs = images
    assert ours.shape == theirs.shape
    # Two implementations of one network differ by float noise, which the sampler carries on.
    assert np.abs(ours - theirs).mean() < 1


def test_pytorch_is_in_the_engine_that_was_told_to_and_in_no_other(torch_server, local_server):
    assert "libtorch" in engine_maps(torch_server)
    assert "libtorch" not in engine_maps(local_server)


def test_what_the_engine_loads_can_be_read_while_it_starts(torch_server):
    log = torch_server.log_file.read_text()
    before, _, _ = log.partition("warming up edsr")
    assert loading_now(before) == "warming up vae_decoder (7 of 10)"
    assert loading_now(log) == "warming up inpaint_unet (10 of 10)"
    assert loading_now("I1130 model_lifecycle.cc:839] \"successfully loaded 'edsr'\"\n") == ""
