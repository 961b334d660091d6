"""Launch the embedded Triton, wait until it is ready, stop it, and clean up after it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Set
from pathlib import Path
from types import TracebackType

from respin.contracts import ROTATE_OBJECT_STREAM
from respin.errors import Busy, InternalError
from respin_server.arguments import model_names, network_arguments, process_arguments, repository_arguments
from respin_server.control import Control
from respin_server.engine_files import EngineFiles
from respin_server.leftovers import (
    check_free,
    held_mib,
    owned_prefix,
    restrict,
    sweep,
    sweep_leftovers,
    temporary_folder,
)
from respin_server.options import LOOPBACK, ServerOptions
from respin_server.ports import Endpoint, pick_endpoints
from respin_server.processes import Guard, end_group, ending, launch, private_mib
from respin_server.server_log import errors_in, last_lines, loaded_models, loading_now
from respin_server.stubs import Instance, living_instances, stopped_instances
from respin_server.wheel import TritonWheel

__all__ = ["EmbeddedTriton", "Progress", "ServerOptions"]

Progress = Callable[[int, int, str], None]
"""Called repeatedly while the server starts with the number of models loaded, the total number, and what the engine
loads at the moment in words."""

_SOCKET = "http"
"""Name of the Unix socket of the HTTP API."""

_UNLOAD_S = 15.0
"""Longest wait for Triton to unload its models once all jobs are done, seconds. Where a caller left in the moment of
its answer, Triton 2.51 now and then holds the model until the exit timeout is over."""

_KILL_AFTER_S = 5.0
_POLL_S = 0.05


class EmbeddedTriton:
    """One server process; a context manager that starts and stops it.

    Linux kills the server when the *thread* that started it ends, so start it from a thread that lives long enough.

    Args:
        options: options of the server.
        progress: progress callback; an exception in it stops the server and propagates.

    Attributes:
        models: names of the models that it loads.
        endpoints: endpoints by service: "gRPC", "metrics", and "HTTP" if asked for; set once started.
        log_file: log of the server; set once started.
        ready_s: duration of the start, seconds; set once ready.

    Raises:
        InvalidInput: the repository contains no models.
    """

    endpoints: dict[str, Endpoint]
    log_file: Path
    ready_s: float

    def __init__(self, options: ServerOptions, progress: Progress | None = None) -> None:
        self.options = options
        self.models = model_names(options.repository)
        self.admin_key = options.admin_key or secrets.token_hex(16)
        self.shm_prefix = owned_prefix()
        self._progress = progress
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._folder_fd: int | None = None
        self._guard: Guard | None = None
        self._was_ready = False

    def __enter__(self) -> EmbeddedTriton:
        """Start the server and wait until every model is ready."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise InternalError("the server has not been started; call start() first")
        return self._process.pid

    def is_running(self) -> bool:
        """Return whether the server's process is running."""
        return self._process is not None and self._process.poll() is None

    def living_instances(self) -> Set[Instance]:
        """Return the model instances whose stub is running."""
        return living_instances(self.pid).keys()

    def stopped_instances(self) -> Set[Instance]:
        """Return the model instances whose stub was stopped by a signal, and may go on."""
        return stopped_instances(self.pid)

    def heartbeat(self) -> int | None:
        """Return a number that changes twice a second while the engine works; None = it has not begun."""
        return EngineFiles(self._own_folder()).heartbeat()

    def held_mib(self) -> float:
        """Return the memory of tritonserver itself, without its stubs, and of all shared regions, MiB."""
        return private_mib(self.pid) + held_mib(self.shm_prefix)

    def model_is_ready(self, model: str) -> bool:
        """Return whether the server reports the model as ready; it does so even if its stub has died.

        Raises:
            Busy: the server does not respond.
        """
        return self._control().model_is_ready(model)

    def exit_report(self) -> str:
        """Return how the server ended, with the errors from its log."""
        log = self._log()
        return "\n".join([f"{self.how_it_ended()}; from its log:", *(errors_in(log) or last_lines(log))])

    def how_it_ended(self) -> str:
        """Return how the server ended, in a few words."""
        return f"tritonserver {ending(self._process.returncode if self._process else None)}"

    def start(self) -> None:
        """Launch the server and wait until every model is ready.

        Raises:
            InvalidInput: a port is in use, there is too little shared memory, or `tritonserver` lacks a file.
            InternalError: the server is not installed, ended early, or was not ready in time; it is stopped then.
        """
        options = self.options
        wheel = TritonWheel.find(options.tritonserver)
        sweep_leftovers()
        check_free(self.models)
        wanted = {"gRPC": (options.host, options.grpc_port), "metrics": (options.metrics_host, options.metrics_port)}
        if options.http_port is not None:
            wanted["HTTP"] = (LOOPBACK, options.http_port)
        self.endpoints = pick_endpoints(wanted)
        self._folder = folder = temporary_folder()
        try:
            self._folder_fd = os.open(folder, os.O_RDONLY)
            self.log_file = options.log_file or folder / "server.log"
            self._guard = Guard(self.shm_prefix, folder)
            wheel.link_backends(folder / "backends")
            self._launch(wheel)
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    def restart(self, *, drain: bool = False) -> None:
        """Launch the server again on its endpoints: it has died, or holds what it will never give back.

        Calls in flight end at once with the gRPC status UNAVAILABLE. After an error the server is not running, and may
        be restarted again or stopped.

        Args:
            drain: let the jobs in flight finish before, within the exit timeout.

        Raises:
            InternalError: it ended early, or was not ready in time.
        """
        if drain:
            self._drain(time.monotonic() + self.options.exit_timeout_s)
        self._end_processes()
        try:
            self._launch(TritonWheel.find(self.options.tritonserver))
            self._await_ready()
        except BaseException:
            self._end_processes()
            raise

    def _launch(self, wheel: TritonWheel) -> None:
        folder = self._own_folder()
        # Triton refuses to listen on a socket that a server which died has left.
        (folder / _SOCKET).unlink(missing_ok=True)
        environment = {**wheel.environment(), **EngineFiles(folder).renew()}
        command = [
            *(str(wheel.binary), "--backend-directory", str(folder / "backends")),
            *("--cache-directory", str(wheel.caches)),
            *repository_arguments(self.options, self.models),
            *network_arguments(self.options, self.endpoints, self._http_socket(), self.admin_key),
            *process_arguments(self.options, self.shm_prefix),
            *self.options.extra_arguments,
        ]
        self._log_start, self._process = launch(command, environment, self.log_file)
        if self._guard is not None:
            self._guard.watch(self._process.pid)

    def _await_ready(self) -> None:
        started_s = time.monotonic()
        while not self._is_ready():
            if not self.is_running():
                raise InternalError(f"the server did not start: {self.exit_report()}")
            if time.monotonic() - started_s > self.options.start_timeout_s:
                log = self._log()
                missing = sorted(set(self.models) - loaded_models(log))
                raise InternalError(
                    f"the server was not ready within {self.options.start_timeout_s:g} s, still loading "
                    f"{', '.join(missing) or 'nothing'}; allow more time, or see its log"
                )
            time.sleep(_POLL_S)
        self.ready_s = time.monotonic() - started_s
        self._was_ready = True
        restrict(self.shm_prefix)

    def _is_ready(self) -> bool:
        if self._progress is not None:
            log = self._log()
            self._progress(len(loaded_models(log)), len(self.models), loading_now(log))
        try:
            return all(self.model_is_ready(model) for model in self.models)
        except Busy:
            return False  # the server opens its ports when all models are loaded

    def _control(self) -> Control:
        endpoint = self.endpoints.get("HTTP") or self._http_socket()
        return Control(endpoint)

    def _http_socket(self) -> Path:
        # The path of a Unix socket has at most 107 characters, and that of the folder may be longer.
        return Path(f"/proc/{os.getpid()}/fd/{self._folder_fd}/{_SOCKET}")

    def _own_folder(self) -> Path:
        if self._folder is None:
            raise InternalError("the server has not been started; call start() first")
        return self._folder

    def _log(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def stop(self) -> None:
        """Let requests in flight finish, stop the server and clean up; does nothing if it is not running."""
        if self._process is not None and self.is_running():
            deadline_s = time.monotonic() + self.options.exit_timeout_s
            if self._was_ready and self._drain(deadline_s):
                deadline_s = min(deadline_s, time.monotonic() + _UNLOAD_S)
            self._process.send_signal(signal.SIGTERM)
            # After stubs have died, Triton sometimes hangs at the end of its exit timeout.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, deadline_s - time.monotonic()) + _KILL_AFTER_S)
        self._end_processes()
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self._folder_fd is not None:
            os.close(self._folder_fd)
            self._folder_fd = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _drain(self, deadline_s: float) -> bool:
        """Let the jobs in progress finish until then, and return whether they have."""
        return EngineFiles(self._own_folder()).drain(deadline_s, self._engine_is_running)

    def _engine_is_running(self) -> bool:
        return any(instance.model == ROTATE_OBJECT_STREAM.name for instance in self.living_instances())

    def _end_processes(self) -> None:
        """Kill what is left of the server, and remove its regions."""
        process, self._process = self._process, None
        self._was_ready = False
        if process is not None:
            end_group(process)
            if self._guard is not None:
                self._guard.watch(0)
        sweep(self.shm_prefix)
