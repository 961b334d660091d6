"""The server's memory while something happens."""

from __future__ import annotations

import threading
import time

from respin_benchmarks.embedded import Processes, Weight

LOOK_S = 0.2
"""Between two looks."""

GREATEST_SHARE = 0.05
"""Of a core that looking may take: the kernel walks every page of every process for it."""


class MemoryWatch:
    """Looks again and again, in a thread of its own, for as long as the `with` lasts; at least twice.

    Args:
        processes: to weigh.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._looks: list[Weight] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory watch")

    def __enter__(self) -> MemoryWatch:
        """Begin with a look."""
        self._looks.append(self._processes.weight())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()
        self._looks.append(self._processes.weight())

    @property
    def before(self) -> Weight:
        """What there was at first."""
        return self._looks[0]

    @property
    def peak_rss(self) -> float:
        """The greatest, MiB."""
        return max(look.rss for look in self._looks)

    @property
    def peak(self) -> Weight:
        """The look with the greatest PSS."""
        return max(self._looks, key=lambda look: look.pss)

    @property
    def peak_vram(self) -> Weight:
        """The look with the greatest VRAM; any where there is no GPU."""
        return max(self._looks, key=lambda look: look.vram)

    def _run(self) -> None:
        pause_s = LOOK_S
        while not self._ended.wait(pause_s):
            began_s = time.thread_time()
            self._looks.append(self._processes.weight())
            pause_s = max(LOOK_S, (time.thread_time() - began_s) / GREATEST_SHARE)
