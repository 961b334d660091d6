"""Extract errors, loaded models and what is being loaded from a tritonserver log."""

from __future__ import annotations

import re

from respin.runtimes import LOADING

_NOISE = ("CudaDriverHelper has not been initialized",)
_LOADED = re.compile(r"successfully loaded '([^']+)'")
_FAILED = re.compile(r"""^E\d.*\] "failed to load '([^']+)' version \d+: (.*)"$""", re.MULTILINE)
_ERROR = re.compile(r'^(?:E\d.*?\] "?|error: )(.*?)"?$', re.MULTILINE)
_LOADING = re.compile(rf'\] "?{LOADING}(.+?)"?$', re.MULTILINE)
_MAX_LINES = 5


def loaded_models(log: str) -> set[str]:
    """Return the models that the server has loaded so far."""
    return set(_LOADED.findall(log))


def loading_now(log: str) -> str:
    """Return what the engine said last of loading its networks, e.g. "warming up edsr (8 of 10)"; empty = nothing."""
    return next(reversed(_LOADING.findall(log)), "")


def errors_in(log: str) -> list[str]:
    """Return the errors of a log, one per line.

    Args:
        log: the whole log.

    Returns:
        The models that failed to load, each with its reason; if none failed, the last error lines.
    """
    failed = [f"model '{model}' could not be loaded: {_first_line(reason)}" for model, reason in _FAILED.findall(log)]
    errors = [_first_line(error) for error in _ERROR.findall(log) if not any(noise in error for noise in _NOISE)]
    return list(dict.fromkeys(failed or errors))[-_MAX_LINES:]


def last_lines(log: str) -> list[str]:
    """Return the end of the log, for a server that died without logging an error."""
    return [line for line in log.splitlines() if line.strip()][-_MAX_LINES:]


def _first_line(message: str) -> str:
    """Return a message without its traceback, which Triton appends with escaped line ends."""
    return message.split("\\n", 1)[0]
