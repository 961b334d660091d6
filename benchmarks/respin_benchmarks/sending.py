"""Jobs sent to a server in two ways, and what became of each: none is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from respin.errors import Busy, RespinError

Job = Callable[[int], object]
"""Does one job, by its number, to its end; raises `RespinError` if the server did not answer."""

Fate = Literal["answered", "refused", "failed"]


@dataclass(frozen=True)
class SentJob:
    """What became of one job."""

    fate: Fate  # answered; refused for lack of room; failed in any other way
    latency_s: float  # since it was sent, or due
    error: str = ""  # in words
    answer: object = None  # what the job returned


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


def send_closed_loop(job: Job, *, concurrency: int, jobs: int) -> SentBurst:
    """Keep so many jobs under way: each worker sends its next one as soon as it has the answer.

    Args:
        job: to do.
        concurrency: workers.
        jobs: in all.
    """
    began_s = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as workers:
        sent = list(workers.map(lambda number: _do(job, number, time.perf_counter()), range(jobs)))
    return SentBurst(sent, time.perf_counter() - began_s)


def send_open_loop(job: Job, arrivals_s: Sequence[float]) -> SentBurst:
    """Send each job when it is due, whatever is answered; its latency counts from then.

    Args:
        job: to do.
        arrivals_s: when each is due, from the beginning.
    """
    began_s = time.perf_counter()

    def send(number: int) -> SentJob:
        due_s = began_s + arrivals_s[number]
        time.sleep(max(0.0, due_s - time.perf_counter()))
        return _do(job, number, due_s)

    with ThreadPoolExecutor(len(arrivals_s)) as senders:
        sent = list(senders.map(send, range(len(arrivals_s))))
    return SentBurst(sent, time.perf_counter() - began_s - arrivals_s[0])


def poisson_arrivals_s(rate_s: float, jobs: int, seed: int) -> list[float]:
    """Return when jobs of a Poisson process arrive.

    Args:
        rate_s: jobs per second, mean.
        jobs: how many arrive.
        seed: of the times between them; same seed, same times.
    """
    between_s = np.random.default_rng(seed).exponential(1 / rate_s, jobs)
    return [float(due_s) for due_s in np.cumsum(between_s)]


def _do(job: Job, number: int, since_s: float) -> SentJob:
    try:
        answer = job(number)
    except RespinError as raised:
        fate: Fate = "refused" if isinstance(raised, Busy) else "failed"
        return SentJob(fate, time.perf_counter() - since_s, f"{type(raised).__name__}: {raised}")
    return SentJob("answered", time.perf_counter() - since_s, answer=answer)
