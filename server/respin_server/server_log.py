"""Read what matters out of a tritonserver log."""

from __future__ import annotations

import re

_NOISE = ("CudaDriverHelper has not been initialized",)
_LOADED = re.compile(r"successfully loaded '([^']+)'")
_FAILED = re.compile(r"""^E\d.*\] "failed to load '([^']+)' version \d+: (.*)"$""", re.MULTILINE)
_ERROR = re.compile(r'^(?:E\d.*?\] "?|error: )(.*?)"?$', re.MULTILINE)
_MOST_LINES = 5


def loaded_models(log: str) -> set[str]:
    """The models that the server has loaded so far."""
    return set(_LOADED.findall(log))


def errors_in(log: str) -> list[str]:
    """What went wrong, a line each.

    Args:
        log: everything that the server wrote.

    Returns:
        the models that failed, each with its reason; where none did the last error lines.
    """
    failed = [f"model '{model}' could not be loaded: {_first_line(reason)}" for model, reason in _FAILED.findall(log)]
    errors = [_first_line(error) for error in _ERROR.findall(log) if not any(noise in error for noise in _NOISE)]
    return list(dict.fromkeys(failed or errors))[-_MOST_LINES:]


def last_lines(log: str) -> list[str]:
    """The end of the log, for a server that died without a word of its own."""
    return [line for line in log.splitlines() if line.strip()][-_MOST_LINES:]


def _first_line(message: str) -> str:
    """The message without the traceback, which Triton writes behind it with its line ends escaped."""
    return message.split("\\n", 1)[0]
