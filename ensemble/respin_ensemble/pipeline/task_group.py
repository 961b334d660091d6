"""Parts of a job at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from respin.errors import Cancelled
from respin_ensemble.pipeline.events import Event, Report

T = TypeVar("T")


@contextmanager
def alongside(executor: Executor, branch: Callable[[Report], T], report: Report) -> Iterator[Future[T]]:
    """Run a branch beside the body of the `with`.

    If the body fails, the branch is stopped at its next report and waited for: nothing of a job outlives it. That the
    branch has failed, the body learns by `check`, or when it wants the result.

    Args:
        executor: runs the branch; it must not be the one that runs the body, or both may wait for ever.
        branch: is given the report to use.
        report: of the job.

    Yields:
        The branch's result.
    """
    abandoned = threading.Event()

    def report_unless_abandoned(event: Event) -> None:
        if abandoned.is_set():
            raise Cancelled("the job's other branch ended it")
        report(event)

    future = executor.submit(branch, report_unless_abandoned)
    try:
        yield future
        future.result()
    finally:
        abandoned.set()
        if not future.cancel():
            wait([future])


def check(parts: Iterable[Future[T]]) -> None:
    """Raise what a part of the job has raised, if one has; waits for none."""
    for part in parts:
        if part.done():
            part.result()


class Crew:
    """Does pieces of one job beside each other; a context manager.

    If the body fails, or a piece, the others are stopped at their next report and waited for: nothing of a job
    outlives it. The threads are the job's own, so that a piece may wait for another part of the same job.

    Args:
        size: pieces at the same time.
        report: of the job.
    """

    def __init__(self, size: int, report: Report) -> None:
        self._report, self._abandoned = report, threading.Event()
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="piece")
        self._pieces: list[Future[object]] = []

    def __enter__(self) -> Crew:
        """Ready."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Wait for all that was begun."""
        if kind is not None:
            self._abandoned.set()
        self._executor.shutdown(cancel_futures=kind is not None)

    def begin(self, piece: Callable[[Report], T]) -> Future[T]:
        """Let a piece be done as soon as there is a thread for it; it is given the report to use."""
        future = self._executor.submit(piece, self._report_unless_abandoned)
        self._pieces.append(future)  # type: ignore[arg-type]
        return future

    def check(self) -> None:
        """Raise what a piece has raised, if one has."""
        check(self._pieces)

    def _report_unless_abandoned(self, event: Event) -> None:
        if self._abandoned.is_set():
            raise Cancelled("another part of the job ended it")
        self._report(event)
