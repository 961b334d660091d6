"""The limits of one engine, for config.pbtxt, for the engine that reads it, and for `respin serve`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from respin.errors import InvalidInput

MAX_MESSAGE_BYTES = 256 * 2**20
"""Longest message between client and server, either way: a photo, or the pictures of an answer."""


def _limit(default: int, meaning: str, smallest: int = 1) -> int:
    made: int = field(default=default, metadata={"meaning": meaning, "smallest": smallest})
    return made


@dataclass(frozen=True)
class EngineLimits:
    """The limits of admission and of the caches.

    Raises:
        InvalidInput: a number is too small.
    """

    workers: int = _limit(16, "jobs at work at once; the others wait their turn")
    max_jobs: int = _limit(64, "jobs held in all, beyond which one more is refused as UNAVAILABLE")
    job_memory_mib: int = _limit(4096, "MiB that these jobs may take at their peak, beyond which one more is refused")
    started_samples: int = _limit(32, "pictures on their way at one UNet; more would make each come later")
    waiting_samples: int = _limit(512, "pictures that wait to be started at one UNet")
    unet_batch: int = _limit(8, "samples of the largest call of a UNet; fewer take less memory, and are done sooner")
    cache_mib: int = _limit(256, "MiB of masks, conditions, texts and backgrounds kept for later requests; 0 = none", 0)

    def __post_init__(self) -> None:
        """Check that every limit admits something."""
        for limit in fields(self):
            value, smallest = getattr(self, limit.name), limit.metadata["smallest"]
            if value < smallest:
                raise InvalidInput(f"{limit.name} is {value}; choose {smallest} or more")

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> EngineLimits:
        """Read limits from the command line, e.g. `cache_mib=0`; the others keep their defaults.

        Raises:
            InvalidInput: one is not NAME=NUMBER, or not known, or too small.
        """
        named: dict[str, int] = {}
        for text in texts:
            name, _, number = text.partition("=")
            if name not in LIMITS or not number.isdecimal():
                raise InvalidInput(f"limit is '{text}'; write NAME=NUMBER with one of {', '.join(LIMITS)}")
            named[name] = int(number)
        return cls(**named)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> EngineLimits:
        """Read the limits from the parameters of a config; other parameters are ignored."""
        return cls(**{limit.name: int(parameters[limit.name]) for limit in fields(cls)})


LIMITS: dict[str, str] = {limit.name: limit.metadata["meaning"] for limit in fields(EngineLimits)}
"""Meaning of each limit, by name."""

DEFAULT_LIMITS = EngineLimits()
