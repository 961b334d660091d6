"""Triton's messages for a temporary outage, after which the same request succeeds.

Triton 2.51 sends them as INTERNAL or NOT_FOUND, which clients do not retry; UNAVAILABLE would be right.
"""

_WORDS = (
    "is not healthy",  # the model's process has died, or is stopped
    "has no available versions",  # the model is being reloaded
    "' is not ready",
    "Server not ready",  # it is stopping
    "Server is stopping",
    "Failed to increase the shared memory pool size",
)


def is_outage(message: str) -> bool:
    """Return whether an error message of Triton's says that a model, or the server, is away for now."""
    return any(words in message for words in _WORDS)
