"""ONNX Runtime without telemetry: the only module that imports it.

From 1.29 on its Linux wheels send an event for each process and session, with hashes of graph and weights, and keep an
id of the user in `~/.cache`. The environment variable is read once, when the library is loaded; a value that is set
already is kept.

No other module of the core imports this one: a client has no ONNX Runtime.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
