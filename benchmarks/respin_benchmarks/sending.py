"""Jobs sent to a server in a closed loop, and what became of each: none is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from respin.errors import Busy, RespinError

Fate = Literal["answered", "refused", "failed"]


@dataclass(frozen=True)
class SentJob:
    """What became of one job."""

    fate: Fate  # answered; refused for lack of room; failed in any other way
    latency_s: float  # since it was sent
    error: str = ""  # in words


@dataclass(frozen=True)
class SentBurst:
    """Jobs that were sent together."""

    jobs: Sequence[SentJob]  # in the order of sending
    wall_s: float  # from the first job's being sent to the last answer

    def count(self, fate: Fate) -> int:
        """Count the jobs of one fate."""
        return sum(job.fate == fate for job in self.jobs)

    @property
    def latencies_s(self) -> list[float]:
        """Of the jobs that were answered."""
        return [job.latency_s for job in self.jobs if job.fate == "answered"]

    @property
    def first_error(self) -> str:
        """Of the first job that was not answered; empty if all were."""
        return next((job.error for job in self.jobs if job.fate != "answered"), "")


def send_closed_loop(job: Callable[[], object], *, concurrency: int, jobs: int) -> SentBurst:
    """Keep so many jobs under way: each worker sends its next one as soon as it has the answer.

    Args:
        job: does one to its end; raises `RespinError` if the server did not answer.
        concurrency: workers.
        jobs: in all.
    """

    def send(_number: int) -> SentJob:
        sent_s = time.perf_counter()
        try:
            job()
        except RespinError as error:
            fate: Fate = "refused" if isinstance(error, Busy) else "failed"
            return SentJob(fate, time.perf_counter() - sent_s, f"{type(error).__name__}: {error}")
        return SentJob("answered", time.perf_counter() - sent_s)

    began_s = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as workers:
        sent = list(workers.map(send, range(jobs)))
    return SentBurst(sent, time.perf_counter() - began_s)
