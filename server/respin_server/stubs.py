"""The processes that run the server's Python models, one per instance."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import psutil

from respin_server.wheel import STUB_NAME

_MODEL_FILE, _INSTANCE = 1, 8
"""Indices of a stub's arguments: <repository>/<model>/<version>/model.py, and the instance's name."""


class Instance(NamedTuple):
    """One instance of a model, e.g. ("edsr", "edsr_0_0")."""

    model: str
    name: str


def living_instances(server_pid: int) -> dict[Instance, int]:
    """Return the instances whose stub is running, with its process id."""
    return {instance: process.pid for instance, process in _stubs(server_pid).items()}


def stopped_instances(server_pid: int) -> set[Instance]:
    """Return the instances whose stub was stopped by a signal (SIGSTOP, a debugger), and may go on."""
    stopped = set()
    for instance, process in _stubs(server_pid).items():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
                stopped.add(instance)
    return stopped


def _stubs(server_pid: int) -> dict[Instance, psutil.Process]:
    try:
        children = psutil.Process(server_pid).children()
    except psutil.NoSuchProcess:
        return {}
    instances = {}
    for child in children:
        try:
            arguments = child.cmdline()
        except psutil.NoSuchProcess:  # or its ZombieProcess: Triton does not reap a stub that was killed
            continue
        if arguments and arguments[0].endswith(STUB_NAME):
            instances[Instance(Path(arguments[_MODEL_FILE]).parts[-3], arguments[_INSTANCE])] = child
    return instances
