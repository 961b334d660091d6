"""Two branches of a job at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, wait
from contextlib import contextmanager
from typing import TypeVar

from respin.errors import Cancelled
from respin_ensemble.events import Event, Report

T = TypeVar("T")


@contextmanager
def alongside(executor: Executor, branch: Callable[[Report], T], report: Report) -> Iterator[Callable[[], T]]:
    """Run a branch beside the body of the `with`.

    If the body fails, the branch is stopped at its next report and waited for: nothing of a job outlives it.

    Args:
        executor: runs the branch; it must not be the one that runs the body, or both may wait for ever.
        branch: is given the report to use.
        report: of the job.

    Yields:
        A function that waits for the branch and returns its result, or raises what it raised.
    """
    abandoned = threading.Event()

    def report_unless_abandoned(event: Event) -> None:
        if abandoned.is_set():
            raise Cancelled("the job's other branch ended it")
        report(event)

    future = executor.submit(branch, report_unless_abandoned)
    try:
        yield future.result
        future.result()
    finally:
        abandoned.set()
        if not future.cancel():
            wait([future])
