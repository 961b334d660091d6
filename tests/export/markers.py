"""What some tests need of the machine."""

from __future__ import annotations

import importlib.util

import pytest

rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs respin[tensorrt-rtx]")
"""TensorRT-RTX, which `make test` installs."""
