"""Show a setup: one view for all steps, with a line for everything that is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from respin_export.progress import bars


class SetupView:
    """The view of a setup.

    Args:
        steps: names of the steps, in order.
        progress: shows the bars.
    """

    def __init__(self, steps: Sequence[str], progress: Progress) -> None:
        self.steps = steps
        self.progress = progress
        self._task = progress.add_task("setup", total=len(steps), unit="steps")

    @classmethod
    @contextmanager
    def shown(cls, steps: Sequence[str], console: Console | None = None) -> Iterator[SetupView]:
        """Show a view until the context ends.

        Args:
            steps: names of the steps, in order.
            console: where it is shown; None = standard error.
        """
        with bars(console) as progress:
            yield cls(steps, progress)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show that a step runs; its bars are removed at its end, its lines stay."""
        number = self.steps.index(name) + 1
        self.line(f"step {number} of {len(self.steps)}: {name}")
        self.progress.update(self._task, description=name, completed=number - 1)
        before = set(self.progress.task_ids)
        yield
        for task in set(self.progress.task_ids) - before:
            self.progress.remove_task(task)
        self.progress.update(self._task, completed=number)

    def line(self, sentence: str) -> None:
        """Print a sentence above the bars."""
        self.progress.console.print(sentence, highlight=False, markup=False, soft_wrap=True)
