"""ONNX Runtime, imported from here alone, so that it reports nothing to its makers.

From 1.29 on its Linux wheels send them an event for each process and session, hashes of graph and weights among it, and
keep an id of the user in `~/.cache` (its pull request 27379). The variable is read once, when the library is loaded;
someone who has set it decides for themselves.

No other module of the core imports this one: a client has no ONNX Runtime.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
