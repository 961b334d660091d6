"""What ONNX Runtime tells its makers: nothing, unless someone asked for it."""

import os
import subprocess
import sys

import pytest
from mini_server import serve

from respin.bundled import bundled_path

CODE = """
import sys
from respin.onnx_runtime import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


def left_at_home(home, **environment):
    """The files of a user after a session was opened in a process with this environment."""
    graph = bundled_path("models/mini") / "edsr" / "model.onnx"
    subprocess.run([sys.executable, "-c", CODE, graph], check=True, env={"HOME": str(home), **environment})
    return {path.name for path in home.rglob("*") if path.is_file()}


def test_a_session_keeps_no_id_of_the_user(tmp_path):
    assert left_at_home(tmp_path) == set()


def test_whoever_set_the_variable_decides(tmp_path):
    assert "deviceid" in left_at_home(tmp_path, ORT_DISABLE_TELEMETRY="0")


@pytest.mark.triton
@pytest.mark.parametrize("profile", ["cpu", "local"])
def test_a_server_keeps_no_id_of_the_user(tmp_path, monkeypatch, profile):
    for variable in ("CI", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    os.mkdir(tmp_path / "home")
    with serve(profile, tmp_path):
        assert not list((tmp_path / "home").rglob("deviceid"))
