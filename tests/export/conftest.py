"""Fetching: a fresh folder, and servers that are stopped with the test."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from fetch_trial import CONTENT, Trial
from file_server import FileServer, serving


@pytest.fixture
def trial(tmp_path):
    return Trial(tmp_path)


@pytest.fixture
def serve():
    """Start servers that are stopped with the test."""
    with ExitStack() as stack:
        yield lambda *behaviours, content=CONTENT: stack.enter_context(serving(FileServer(content, *behaviours)))
