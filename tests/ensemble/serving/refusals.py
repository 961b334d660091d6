"""What no message to a client may show."""

import re

NEVER_SHOWN = re.compile(
    r"Traceback|\bAt:|\.py\b|(?<![\w/])/(?:root|home|usr|tmp|work|dev|etc|proc|opt|var|mnt)\b|site-packages|line \d+|"
    r"shm|0x[0-9a-f]{6}|\n"
)
"""Tracebacks, paths, names of shared memory, addresses; and more than one line."""


def assert_shows_nothing(message: str) -> None:
    found = NEVER_SHOWN.search(message)
    assert not found, f"{found} in {message!r}"
