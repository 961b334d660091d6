"""Run a server in the foreground: say when it is ready, keep it alive, stop it on SIGINT or SIGTERM.

With a command, the server runs for as long as the command does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from rich.console import Console

from respin.errors import InvalidInput
from respin_server.launcher import EmbeddedTriton
from respin_server.options import ServerOptions
from respin_server.supervisor import Event, Supervisor


class _StoppedEarly(Exception):
    """The operator asked to stop before the server was ready."""


class Foreground:
    """One run of `respin serve`.

    Args:
        options: what to serve, and where.
        facts: what else the operator wants to read once the server is ready, by name.
        console: where to say it.
        command: program and arguments to run once the server is ready; the run ends with it. Empty = none. It finds
            the server's address in RESPIN_URL.

    Attributes:
        exit_code: of the command; 0 without one.
    """

    def __init__(
        self, options: ServerOptions, facts: dict[str, str], console: Console, command: Sequence[str] = ()
    ) -> None:
        """Prepare the run."""
        self.exit_code = 0
        self._command = command
        self._options = options
        self._facts = facts
        self._console = console
        self._wake = threading.Event()
        self._stop_asked = False
        self._last_words: str | None = None

    def run(self) -> str | None:
        """Serve until asked to stop, or until the server cannot go on.

        Returns:
            None if stopped on request, else why the server could not go on.

        Raises:
            InvalidInput: a port is taken, or the repository holds no models.
            InternalError: the server did not start.
        """
        with self._signals(), contextlib.ExitStack() as stack:
            try:
                triton = self._started(stack)
            except _StoppedEarly:
                self._say("stopped before the server was ready")
                return None
            self._say_facts(triton)
            with Supervisor(triton, self._on_event), self._running_command(triton):
                self._wake.wait()
                asked = self._stop_asked
            if self._last_words is not None and not triton.is_running():
                self._last_words = triton.epitaph()
            self._say(f"stopping; requests in flight have {self._options.exit_timeout_s} s to finish")
        self._say("stopped")
        return None if asked else self._last_words

    def _started(self, stack: contextlib.ExitStack) -> EmbeddedTriton:
        with self._console.status("starting the server") as status:

            def progress(loaded: int, models: int) -> None:
                if self._stop_asked:
                    raise _StoppedEarly
                status.update(f"loading models: {loaded} of {models}")

            return stack.enter_context(EmbeddedTriton(self._options, progress))

    @contextlib.contextmanager
    def _running_command(self, triton: EmbeddedTriton) -> Iterator[None]:
        """Run the command, if there is one; its end wakes the run, and the end of the run ends it."""
        if not self._command:
            self._say("Ctrl-C stops it")
            yield
            return
        environment = {**os.environ, "RESPIN_URL": str(triton.endpoints["gRPC"])}
        try:
            process = subprocess.Popen(self._command, env=environment)
        except OSError as error:
            raise InvalidInput(f"cannot run '{self._command[0]}' ({error.strerror}); name a program") from None
        watch = threading.Thread(target=self._await_command, args=[process], name="command")
        watch.start()
        try:
            yield
        finally:
            process.terminate()
            watch.join()

    def _await_command(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        # As shells count: a command that a signal ended.
        self.exit_code = code if code >= 0 else 128 - code
        self._stop_asked = True
        self._wake.set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def ask(_signal: int, _frame: FrameType | None) -> None:
            self._stop_asked = True
            self._wake.set()

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_event(self, event: Event) -> None:
        if event.is_final:
            self._last_words = event.message
            self._wake.set()
        else:
            self._say(event.message)

    def _say_facts(self, triton: EmbeddedTriton) -> None:
        self._say(f"ready in {triton.ready_s:.1f} s, {len(triton.models)} models")
        for service, endpoint in triton.endpoints.items():
            self._say(f"{service:8} {endpoint}")
        for name, fact in {**self._facts, "log": str(triton.log_file)}.items():
            self._say(f"{name:8} {fact}")

    def _say(self, line: str) -> None:
        # One line stays one line, for whoever reads the output with a program.
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
