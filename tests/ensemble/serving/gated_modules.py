"""Modules of the mini set whose EDSR waits for a file: the engine of a test imports them (`InProcess.modules`)."""

import os
import threading
from pathlib import Path

from respin_export.served_modules import manifest_of
from respin_export.served_modules import module_loader as mini_loader

__all__ = ["GATE", "manifest_of", "module_loader", "waiting_file"]

GATE = "RESPIN_TEST_GATE"
"""Variable with the path of the file."""


def waiting_file(gate):
    """The file that a call which waits for the gate makes."""
    return gate.with_suffix(".waiting")


def module_loader(folder, device, precision):
    load = mini_loader(folder, device, precision)

    def gated(name):
        module = load(name)
        if name == "edsr":
            module.register_forward_pre_hook(lambda *_: wait())
        return module

    return gated


def wait():
    pause, gate = threading.Event(), Path(os.environ[GATE])
    while not gate.exists():
        waiting_file(gate).touch()
        pause.wait(0.01)
