"""Jobs offered to a server in two ways, and what became of each: none is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from respin.errors import Busy, RespinError

Job = Callable[[], object]
"""Does one job to its end; raises `RespinError` where the server did not answer."""

Fate = Literal["answered", "refused", "failed"]


@dataclass(frozen=True)
class Answer:
    """What became of one job.

    Args:
        fate: answered; refused, as there was no room; failed in any other way.
        latency_s: since it was sent, or should have been.
        error: in words.
    """

    fate: Fate
    latency_s: float
    error: str = ""


@dataclass(frozen=True)
class Burst:
    """Jobs that were offered together.

    Args:
        answers: in the order of sending.
        wall_s: from the first job's being sent to the last answer.
    """

    answers: Sequence[Answer]
    wall_s: float

    def count(self, fate: Fate) -> int:
        """Jobs of one fate."""
        return sum(answer.fate == fate for answer in self.answers)

    @property
    def latencies_s(self) -> list[float]:
        """Of the jobs that were answered."""
        return [answer.latency_s for answer in self.answers if answer.fate == "answered"]

    @property
    def first_error(self) -> str:
        """Of the first job that was not answered; empty = all were."""
        return next((answer.error for answer in self.answers if answer.fate != "answered"), "")


def closed_loop(job: Job, *, concurrency: int, jobs: int) -> Burst:
    """Keep so many jobs under way: each worker sends its next one as soon as it has the answer.

    Args:
        job: to do.
        concurrency: workers.
        jobs: in all.
    """
    began_s = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as workers:
        answers = list(workers.map(lambda _: _done(job, time.perf_counter()), range(jobs)))
    return Burst(answers, time.perf_counter() - began_s)


def open_loop(job: Job, arrivals_s: Sequence[float]) -> Burst:
    """Send each job when it is due, whatever is answered; its latency counts from then.

    Args:
        job: to do.
        arrivals_s: when each is due, from the beginning.
    """
    began_s = time.perf_counter()

    def one(due_s: float) -> Answer:
        time.sleep(max(0.0, began_s + due_s - time.perf_counter()))
        return _done(job, began_s + due_s)

    with ThreadPoolExecutor(len(arrivals_s)) as senders:
        answers = list(senders.map(one, arrivals_s))
    return Burst(answers, time.perf_counter() - began_s - arrivals_s[0])


def poisson_arrivals_s(rate_s: float, jobs: int, seed: int) -> list[float]:
    """When jobs of a Poisson process come.

    Args:
        rate_s: jobs a second, mean.
        jobs: how many come.
        seed: of the times between them; same seed, same times.
    """
    between_s = np.random.default_rng(seed).exponential(1 / rate_s, jobs)
    return [float(due_s) for due_s in np.cumsum(between_s)]


def _done(job: Job, since_s: float) -> Answer:
    fate: Fate = "answered"
    error = ""
    try:
        job()
    except RespinError as raised:
        fate = "refused" if isinstance(raised, Busy) else "failed"
        error = f"{type(raised).__name__}: {raised}"
    return Answer(fate, time.perf_counter() - since_s, error)
