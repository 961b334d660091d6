"""The client is light: what the server needs stays out of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "onnx", "onnxruntime", "cv2", "tokenizers", "psutil", "pytriton", "transformers", "diffusers")


@pytest.mark.parametrize("module", ["respin_client", "respin_client.command", "respin_client.doctor"])
def test_importing_the_client_loads_nothing_heavy(module):
    program = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
