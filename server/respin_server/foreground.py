"""Run a server in the foreground: report when it is ready, supervise and restart it, stop it on SIGINT or SIGTERM.

With a command, the server runs until the command ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType

import psutil
from rich.console import Console

from respin.errors import InternalError, InvalidInput
from respin_server.launcher import EmbeddedTriton
from respin_server.options import ServerOptions
from respin_server.ports import Endpoint
from respin_server.restarts import DEFAULT_HELD_MIB, DEFAULT_RESTARTS, WINDOW_S, RestartPolicy
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
        restarts: how often the server is restarted within ten minutes if it dies.
        held_mib: memory of tritonserver and its shared regions above which it is restarted once its jobs are done, MiB;
            0 = no limit.

    Attributes:
        exit_code: exit code of the command; 0 without one.
    """

    def __init__(
        self,
        options: ServerOptions,
        facts: dict[str, str],
        console: Console,
        command: Sequence[str] = (),
        *,
        restarts: int = DEFAULT_RESTARTS,
        held_mib: int = DEFAULT_HELD_MIB,
    ) -> None:
        self.exit_code = 0
        self._command = command
        self._options = options
        self._facts = facts
        self._console = console
        self._status = console.status("starting the server")
        self._restarts = restarts
        self._policy = RestartPolicy(restarts)
        self._held_mib = held_mib
        self._wake = threading.Event()
        self._stop_asked = False
        self._last_event: SupervisorEvent | None = None

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
                with self._status:
                    triton = stack.enter_context(EmbeddedTriton(self._options, self._progress))
                self._print_facts(triton)
                with self._running_command(triton):
                    failure = self._supervise(triton)
            except _StoppedEarly:
                self._print("stopped before the server was ready")
                return None
            self._print(f"stopping; requests in flight have {self._options.exit_timeout_s} s to finish")
        self._print("stopped")
        return failure

    def _progress(self, loaded: int, models: int, network: str) -> None:
        if self._stop_asked:
            raise _StoppedEarly
        self._status.update(f"loading models: {loaded} of {models}" + (f"; {network}" if network else ""))

    def _supervise(self, triton: EmbeddedTriton) -> str | None:
        """Keep the server running until asked to stop, or until it fails; return why it failed."""
        while True:
            with Supervisor(triton, self._on_event, most_mib=self._held_mib):
                self._wake.wait()
            event = self._last_event
            if self._stop_asked or event is None:
                return None
            if failure := self._restart(triton, event):
                return failure

    def _restart(self, triton: EmbeddedTriton, event: SupervisorEvent) -> str | None:
        """Restart the server until it is ready; return why it stays down."""
        died, report = (triton.how_it_ended(), triton.exit_report()) if not triton.is_running() else (event.message, "")
        if event.works:
            # It has not died, so this is none of the restarts that are counted.
            self._forget_event()
            self._print(f"{died}; restarting the server once its jobs are done")
            report = self._try_to_restart(triton, drain=True)
            if not report:
                return None
            died = report.partition("\n")[0]
        while (delay_s := self._policy.next_delay_s(time.monotonic())) is not None:
            self._forget_event()
            when = f" in {delay_s:g} s" if delay_s else ""
            self._print(
                f"{died}; restarting the server{when} (at most {self._restarts} times in {WINDOW_S / 60:g} min)"
            )
            if self._wake.wait(delay_s) and self._stop_asked:
                return None
            report = self._try_to_restart(triton)
            if not report:
                return None
            died = report.partition("\n")[0]
        return f"{report or died}\nit was restarted {self._restarts} times in {WINDOW_S / 60:g} min and stays down"

    def _try_to_restart(self, triton: EmbeddedTriton, *, drain: bool = False) -> str:
        """Restart the server once; return why it is not ready, empty if it is."""
        try:
            # By this thread: Linux kills the server with the thread that started it.
            with self._status:
                triton.restart(drain=drain)
        except InternalError as error:
            return str(error)
        self._print(f"ready again in {triton.ready_s:.1f} s")
        return ""

    def _forget_event(self) -> None:
        self._last_event = None
        if not self._stop_asked:
            self._wake.clear()

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
        if event.needs_restart:
            self._last_event = event
            self._wake.set()
        else:
            self._print(event.message)

    def _print_facts(self, triton: EmbeddedTriton) -> None:
        self._print(f"ready in {triton.ready_s:.1f} s, {len(triton.models)} models")
        for service, endpoint in triton.endpoints.items():
            self._print(f"{service:8} {_listed(endpoint)}")
        for name, fact in {**self._facts, "log": str(triton.log_file)}.items():
            self._print(f"{name:8} {fact}")

    def _print(self, line: str) -> None:
        # No wrapping: programs parse this output line by line.
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _listed(endpoint: Endpoint) -> str:
    """Return an endpoint in words; if it listens on all interfaces, with the address of each that is up."""
    if endpoint.host != "0.0.0.0":
        return str(endpoint)
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    hosts = [
        each.address
        for name, addresses in psutil.net_if_addrs().items()
        for each in addresses
        if name in up and each.family == socket.AF_INET
    ]
    hosts.sort(key=lambda host: not host.startswith("127."))
    return f"{endpoint.host}:{endpoint.port} = {', '.join(f'{host}:{endpoint.port}' for host in hosts)}"
