"""Parts of one job that run at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from types import TracebackType
from typing import TypeVar

from respin_ensemble.pipeline.cancellation import Cancellation

T = TypeVar("T")


class TaskGroup:
    """Runs tasks of one job and waits for all of them; a context manager, like asyncio.TaskGroup.

    If the body or a task fails, `cancellation` is requested, so that the body and the other tasks stop at their next
    check. The `with` statement ends after all tasks have ended, and raises the first error.

    Args:
        cancellation: the job's; the group's own is a child of it.

    Attributes:
        cancellation: to be checked by the body and the tasks.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self.cancellation = cancellation.child()
        self._tasks: list[Future[object]] = []
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def __enter__(self) -> TaskGroup:
        """Return the group."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all tasks, and raise the first error if it is not the body's own."""
        if error is not None:
            self._fail(error)
        wait(self._tasks)
        self._forget()
        if self._error is not None and self._error is not error:
            raise self._error

    def _forget(self) -> None:
        """Release the tasks, and of the frames of errors that are not raised.

        They hold what the job has in memory; one that holds its own error is freed only by the garbage collector.
        """
        for task in self._tasks:
            failure = None if task.cancelled() else task.exception()
            if failure is not None and failure is not self._error:
                failure.__traceback__ = failure.__context__ = None
        self._tasks.clear()

    def start(self, executor: Executor, task: Callable[[], T]) -> Future[T]:
        """Start a task.

        Args:
            executor: runs the task. It must not be the one that runs the body, or the two may wait for each other.
            task: the function to call.
        """
        future = executor.submit(self._run, task)
        self._tasks.append(future)  # type: ignore[arg-type]
        return future

    def _run(self, task: Callable[[], T]) -> T:
        try:
            self.cancellation.check()
            return task()
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        """Keep the first error, and stop everything else: what follows from that must not replace it."""
        with self._lock:
            if self._error is None:
                self._error = error
        self.cancellation.cancel("another part of the job failed")
