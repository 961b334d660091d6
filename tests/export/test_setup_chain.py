"""From random weights in the published layouts to an answered request, by the commands that `respin setup` prints."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from markers import rtx
from PIL import Image

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.model_set import ModelSet

ROOT = Path(__file__).parents[2]
COMMANDS = dict(re.findall(r'^(\w+) = "(respin_[\w.]+:\w+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
RESPIN = f"""
import sys
from importlib.metadata import EntryPoint
from respin_client.command import main
commands = {COMMANDS}
if __name__ == "__main__":
    main(sys.argv[1:], [EntryPoint(name, value, "respin.commands") for name, value in commands.items()])
"""
"""The `respin` command with what pyproject.toml names, whenever this environment was installed."""

# Ten networks of the published depth are traced: minutes, most of them for the first test.
pytestmark = [pytest.mark.triton, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chain")


@pytest.fixture(scope="module")
def respin(folder):
    """Run a command line in the folder of the chain; it must succeed."""
    script = folder / "run_respin.py"
    script.write_text(RESPIN)

    def run(line):
        program, *words = shlex.split(line)
        assert program == "respin"
        command = [sys.executable, str(script), *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done

    return run


@pytest.fixture(scope="module")
def weights(respin):
    respin("respin weights synthesize --output trial --size mini --quiet")
    return "trial"


@pytest.fixture(scope="module")
def exported(respin, weights):
    """The result of a setup for ONNX Runtime on the CPU."""
    return respin(f"respin setup full --weights {weights} --device cpu --runtime onnxruntime --jobs 2")


@pytest.fixture
def turned(respin, folder):
    """Serve by the last line of a setup and have an object turned: (size of the picture, what was said)."""
    photo, picture = bundled_path("examples") / "coffee.png", folder / "turned.png"
    picture.unlink(missing_ok=True)
    request = f"--image {shlex.quote(str(photo))} --class-name cup --box 165 12 428 312 --azimuth 30 --timeout-s 600"
    rotate = f"{shlex.quote(sys.executable)} -m respin_client rotate {request} --steps 2 --background-steps 2"

    def turn(setup):
        line = setup.stdout.splitlines()[-1]
        served = respin(f"{line} --grpc-port 0 --metrics-port 0 -- {rotate} --output {shlex.quote(str(picture))}")
        with Image.open(photo) as asked, Image.open(picture) as answered:
            assert answered.size == asked.size
        return served.stdout

    return turn


def test_a_setup_for_onnx_runtime_ends_with_a_command_that_serves_it(exported, turned):
    assert exported.stdout.splitlines()[-1] == "respin serve --models models/full"
    assert "full" in turned(exported)


@pytest.mark.parametrize("device", ["cpu"])
def test_a_setup_for_pytorch_ends_with_a_command_that_serves_it(respin, weights, turned, device):
    setup = respin(f"respin setup full --weights {weights} --device {device} --runtime torch")
    assert setup.stdout.splitlines()[-1] == f"respin serve --weights trial --device {device} --runtime torch"
    assert f"torch on {device}" in turned(setup)


@rtx
def test_a_setup_for_tensorrt_builds_engines_from_what_is_exported(respin, folder, weights, exported):
    # In FP32: in FP16 random weights of GroundingDINO choose other queries, which the export refuses.
    options = "--device cuda --runtime tensorrt --flavour tensorrt_rtx --precision fp32"
    setup = respin(f"respin setup full --weights {weights} {options}")
    assert setup.stderr.count(": up to date") == len(NETWORKS)
    made = folder / "models/full-tensorrt_rtx"
    assert list(ModelSet.load(made).networks) == list(NETWORKS)
    ModelSet.load(made).verify(made)
    assert setup.stdout.splitlines()[-1] == (
        "respin serve --models models/full-tensorrt_rtx --device cuda --runtime tensorrt"
    )
