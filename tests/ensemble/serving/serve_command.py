"""`respin serve` on the mini set as a process of its own, for tests that hurt it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from respin_client import Client
from respin_server.stubs import living_instances

WAIT_S, CALL_S = 60.0, 250.0

ENGINE, PROXY = "rotate_object_stream", "rotate_object"


class ServeCommand:
    """A running `respin serve`.

    Args:
        process: the command.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.await_line("Ctrl-C")
        self.facts = {name: fact for name, _, fact in (line.partition(" ") for line in self.lines)}
        self.facts = {name: fact.strip() for name, fact in self.facts.items()}
        self.url, self.metrics_url = self.facts["gRPC"], self.facts["metrics"]

    def client(self, **options) -> Client:
        return Client(self.url, **{"timeout_s": CALL_S, **options})

    def triton(self) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(each for each in children if each.name() == "tritonserver")

    def stub(self, model: str) -> int:
        instances = living_instances(self.triton().pid)
        return next(pid for instance, pid in instances.items() if instance.model == model)

    def kill(self, model: str, signum: int = 9) -> None:
        os.kill(self.stub(model), signum)

    def count(self, words: str) -> int:
        return sum(words in line for line in self.lines)

    def await_line(self, words: str, times: int = 1) -> None:
        """Wait until a line with these words has been printed so often."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.count(words) >= times, WAIT_S):
                raise AssertionError(f"not within {WAIT_S:g} s: {words!r}; printed: {self.lines}")

    def _read(self) -> None:
        for line in self.process.stdout or ():
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()


@contextlib.contextmanager
def serve_command(profile: str, temporary: Path, *arguments: str) -> Iterator[ServeCommand]:
    """Run `respin serve` on free ports, with a folder of its own for temporary files."""
    command = [sys.executable, "-m", "respin_client", "serve", "--profile", profile]
    with subprocess.Popen(
        [*command, "--grpc-port", "0", "--metrics-port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:
        try:
            yield ServeCommand(process)
        finally:
            process.terminate()
            process.wait(WAIT_S)
