"""Run a server in the foreground: report when it is ready, supervise it, stop it on SIGINT or SIGTERM.

With a command, the server runs until the command ends.
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
from respin_server.supervisor import Supervisor, SupervisorEvent


class _StoppedEarly(Exception):
    """The operator asked to stop before the server was ready."""


class Foreground:
    """One run of `respin serve`.

    Args:
        options: options of the server.
        facts: further lines to print once the server is ready, by name.
        console: where to print.
        command: program and arguments to run once the server is ready, with the server's address in RESPIN_URL; the
            server stops when it ends. Empty = none.

    Attributes:
        exit_code: exit code of the command; 0 without one.
    """

    def __init__(
        self, options: ServerOptions, facts: dict[str, str], console: Console, command: Sequence[str] = ()
    ) -> None:
        self.exit_code = 0
        self._command = command
        self._options = options
        self._facts = facts
        self._console = console
        self._wake = threading.Event()
        self._stop_asked = False
        self._exit_report: str | None = None

    def run(self) -> str | None:
        """Serve until asked to stop, or until the server fails.

        Returns:
            None if stopped on request, else why the server failed.

        Raises:
            InvalidInput: a port is in use, or the repository contains no models.
            InternalError: the server did not start.
        """
        with self._signals(), contextlib.ExitStack() as stack:
            try:
                triton = self._start(stack)
            except _StoppedEarly:
                self._print("stopped before the server was ready")
                return None
            self._print_facts(triton)
            with Supervisor(triton, self._on_event), self._running_command(triton):
                self._wake.wait()
                asked = self._stop_asked
            if self._exit_report is not None and not triton.is_running():
                self._exit_report = triton.exit_report()
            self._print(f"stopping; requests in flight have {self._options.exit_timeout_s} s to finish")
        self._print("stopped")
        return None if asked else self._exit_report

    def _start(self, stack: contextlib.ExitStack) -> EmbeddedTriton:
        with self._console.status("starting the server") as status:

            def progress(loaded: int, models: int) -> None:
                if self._stop_asked:
                    raise _StoppedEarly
                status.update(f"loading models: {loaded} of {models}")

            return stack.enter_context(EmbeddedTriton(self._options, progress))

    @contextlib.contextmanager
    def _running_command(self, triton: EmbeddedTriton) -> Iterator[None]:
        """Run the command, if there is one, and terminate it when the server stops."""
        if not self._command:
            self._print("Ctrl-C stops it")
            yield
            return
        environment = {**os.environ, "RESPIN_URL": str(triton.endpoints["gRPC"])}
        try:
            process = subprocess.Popen(self._command, env=environment)
        except OSError as error:
            raise InvalidInput(
                f"cannot run '{self._command[0]}' ({error.strerror}); check the program's name"
            ) from None
        waiter = threading.Thread(target=self._await_command, args=[process], name="command")
        waiter.start()
        try:
            yield
        finally:
            process.terminate()
            waiter.join()

    def _await_command(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        # The convention of shells for a command that was ended by a signal.
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

    def _on_event(self, event: SupervisorEvent) -> None:
        if event.is_final:
            self._exit_report = event.message
            self._wake.set()
        else:
            self._print(event.message)

    def _print_facts(self, triton: EmbeddedTriton) -> None:
        self._print(f"ready in {triton.ready_s:.1f} s, {len(triton.models)} models")
        for service, endpoint in triton.endpoints.items():
            self._print(f"{service:8} {endpoint}")
        for name, fact in {**self._facts, "log": str(triton.log_file)}.items():
            self._print(f"{name:8} {fact}")

    def _print(self, line: str) -> None:
        # No wrapping: programs parse this output line by line.
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
