"""Launch the embedded Triton, wait until it is ready, stop it, and clean up after it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Set
from pathlib import Path
from types import TracebackType

from respin.errors import Busy, InternalError, InvalidInput
from respin_server import die_with_parent
from respin_server.arguments import network_arguments, process_arguments, repository_arguments
from respin_server.control import Control
from respin_server.options import ServerOptions
from respin_server.ports import Endpoint, pick_endpoints
from respin_server.server_log import errors_in, last_lines, loaded_models
from respin_server.shared_memory import region_prefix, sweep, sweep_leftovers
from respin_server.stubs import Instance, living_instances
from respin_server.wheel import TritonWheel

__all__ = ["EmbeddedTriton", "Progress", "ServerOptions"]

Progress = Callable[[int, int], None]
"""Called repeatedly while the server starts with the number of models loaded and the total number."""

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
        endpoints: endpoints by service: "gRPC", "HTTP", "metrics"; set once started.
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
        self.shm_prefix = region_prefix()
        self._progress = progress
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

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

    def model_is_ready(self, model: str) -> bool:
        """Return whether the server reports the model as ready; it does so even if its stub has died.

        Raises:
            Busy: the server does not respond.
        """
        return self._control().model_is_ready(model)

    def reload_model(self, model: str) -> None:
        """Replace all instances of a model by new ones.

        Raises:
            Busy: the server does not respond.
            InternalError: the model cannot be loaded; it is then unloaded.
        """
        self._control().reload_model(model)

    def exit_report(self) -> str:
        """Return how the server ended, with the errors from its log."""
        code = self._process.returncode if self._process else None
        ended = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        log = self._log()
        return "\n".join([f"tritonserver {ended}; from its log:", *(errors_in(log) or last_lines(log))])

    def start(self) -> None:
        """Launch the server and wait until every model is ready.

        Raises:
            InvalidInput: a port is in use.
            InternalError: the server is not installed, ended early, or was not ready in time; it is stopped then.
        """
        options = self.options
        wheel = TritonWheel.installed()
        environment = wheel.environment()
        sweep_leftovers()
        self.endpoints = pick_endpoints(
            {
                "gRPC": (options.host, options.grpc_port),
                "HTTP": (options.plaintext_host, options.http_port),
                "metrics": (options.plaintext_host, options.metrics_port),
            }
        )
        self._folder = folder = Path(tempfile.mkdtemp(prefix="respin-server-"))
        try:
            self._launch(wheel, environment, folder)
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    def _launch(self, wheel: TritonWheel, environment: dict[str, str], folder: Path) -> None:
        wheel.link_backends(folder / "backends")
        self.log_file = self.options.log_file or folder / "server.log"
        arguments = [
            *("--backend-directory", str(folder / "backends"), "--cache-directory", str(wheel.caches)),
            *repository_arguments(self.options, self.models),
            *network_arguments(self.options, self.endpoints, self.admin_key),
            *process_arguments(self.options, self.shm_prefix),
            *self.options.extra_arguments,
        ]
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), str(wheel.binary), *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal must reach the launcher only: a second signal would cut the shutdown short.
                start_new_session=True,
            )

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

    def _is_ready(self) -> bool:
        if self._progress is not None:
            self._progress(len(loaded_models(self._log())), len(self.models))
        try:
            return all(self.model_is_ready(model) for model in self.models)
        except Busy:
            return False  # the server opens its ports when all models are loaded

    def _control(self) -> Control:
        return Control(self.endpoints["HTTP"], self.admin_key, load_timeout_s=self.options.start_timeout_s)

    def _log(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def stop(self) -> None:
        """Let requests in flight finish, stop the server and clean up; does nothing if it is not running."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                # After stubs have died, Triton sometimes hangs at the end of its exit timeout.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self.options.exit_timeout_s + _KILL_AFTER_S)
            # Stubs share the server's process group and may outlive it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        sweep(self.shm_prefix)
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None


def model_names(repository: Path) -> tuple[str, ...]:
    """Return the models of a repository: its folders with a config.pbtxt.

    Raises:
        InvalidInput: there are none.
    """
    names = tuple(sorted(config.parent.name for config in repository.glob("*/config.pbtxt")))
    if not names:
        raise InvalidInput(f"'{repository}' contains no models; pass a folder made by `respin assemble`")
    return names
