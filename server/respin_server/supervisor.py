"""Supervise the server's Python stubs, and reload the model of a stub that has died.

Triton 2.51 neither restarts a dead stub nor reports its model as not ready; every request to it fails after a second.
Requests that a stub had accepted and not answered are lost only with the jobs, which answer later: their callers would
wait for ever, and Triton would neither free what they hold nor stop. So the death of a job's stub is reported as one
that takes the whole server along.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol

from respin.contracts import JOBS
from respin.errors import Busy, InternalError
from respin_server.stubs import Instance


@dataclass(frozen=True)
class SupervisorEvent:
    """Something that the supervisor observed or did.

    Args:
        kind: what happened.
        message: the same in words.
        model: the model concerned; None = the whole server.
    """

    kind: Literal[
        "stub_died", "reloaded", "reload_failed", "gave_up", "server_died", "job_stub_died", "stopped", "continued"
    ]
    message: str
    model: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the supervisor can do no more."""
        return self.kind == "gave_up" or self.needs_restart

    @property
    def needs_restart(self) -> bool:
        """Whether restarting the server is the remedy."""
        return self.kind in ("server_died", "job_stub_died")


class SupervisedServer(Protocol):
    """What the supervisor needs of a server; `EmbeddedTriton` is one."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models that should be served."""

    def is_running(self) -> bool:
        """Return whether the server's process is running."""

    def living_instances(self) -> Set[Instance]:
        """Return the model instances whose stub is running."""

    def stopped_instances(self) -> Set[Instance]:
        """Return the model instances whose stub was stopped by a signal, and may go on."""

    def model_is_ready(self, model: str) -> bool:
        """Return whether the server offers the model; raise Busy if it does not respond."""

    def reload_model(self, model: str) -> None:
        """Replace the model's instances; raise Busy or InternalError if that fails."""


@dataclass
class _Outage:
    """A model that is down: failed reloads in a row, and the monotonic time of the next attempt."""

    failures: int = 0
    retry_at_s: float = 0.0


class Supervisor:
    """A thread that keeps the stubs of one server running; a context manager that starts and stops it.

    Args:
        server: the server; all its models must be ready, so that all its instances are running.
        on_event: called from the supervisor's thread.
        period_s: time between two polls, seconds; a stub that is missing in two polls in a row is dead.
        attempts: number of failed reloads of a model in a row after which it is given up.
        backoff_s: delay after the first failed reload, seconds; doubled after each further one.
    """

    def __init__(
        self,
        server: SupervisedServer,
        on_event: Callable[[SupervisorEvent], None],
        *,
        period_s: float = 0.3,
        attempts: int = 5,
        backoff_s: float = 1.0,
    ) -> None:
        self._server = server
        self._on_event = on_event
        self._period_s = period_s
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._expected: set[Instance] = set()
        self._suspects: set[str] = set()
        self._stopped: Set[Instance] = frozenset()
        self._outages: dict[str, _Outage] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="respin-supervisor", daemon=True)

    def __enter__(self) -> Supervisor:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the thread; a reload in progress is finished first."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while self.poll(time.monotonic()) and not self._stop.wait(self._period_s):
            pass

    def poll(self, now_s: float) -> bool:
        """Poll once, and reload models whose stub is dead.

        Args:
            now_s: monotonic time, seconds.

        Returns:
            Whether the server is running.
        """
        if not self._server.is_running():
            self._on_event(SupervisorEvent("server_died", "tritonserver has died"))
            return False
        self._note_stops()
        try:
            self._note_deaths()
        except Busy:
            return True  # it is exiting, or overloaded; the next poll decides
        if lost := sorted(set(self._outages) & JOBS.keys()):
            message = f"the process of '{lost[0]}' has died, and its callers with it"
            self._on_event(SupervisorEvent("job_stub_died", message, lost[0]))
            return False
        for model, outage in list(self._outages.items()):
            if outage.failures < self._attempts and now_s >= outage.retry_at_s:
                self._reload(model, outage, now_s)
        return True

    def _note_stops(self) -> None:
        """Report stubs that were stopped and have been continued: they are not dead, and keep their requests."""
        stopped = self._server.stopped_instances()
        for model, name in sorted(stopped - self._stopped):
            message = f"the process of '{name}' was stopped by a signal; continue it (kill -CONT) or kill it"
            self._on_event(SupervisorEvent("stopped", message, model))
        for model, name in sorted(self._stopped - stopped):
            self._on_event(SupervisorEvent("continued", f"the process of '{name}' is no longer stopped", model))
        self._stopped = stopped

    def _note_deaths(self) -> None:
        living = self._server.living_instances()
        self._expected |= living
        whole = {instance.model for instance in living} - {instance.model for instance in self._expected - living}
        down = set(self._server.models) - whole
        for model in set(self._outages) - down:
            del self._outages[model]  # loaded again by an operator
        # A stub that is missing once may just be being replaced; its successor is there at the next poll.
        for model in sorted((down & self._suspects) - set(self._outages)):
            if self._server.model_is_ready(model):
                self._outages[model] = _Outage()
                if model not in JOBS:
                    message = f"a stub of model '{model}' has died; reloading the model"
                    self._on_event(SupervisorEvent("stub_died", message, model))
            else:
                self._forget(model)  # unloaded by an operator
        self._suspects = down

    def _forget(self, model: str) -> None:
        """Forget the model's instances: the next ones may have other names."""
        self._expected = {instance for instance in self._expected if instance.model != model}

    def _reload(self, model: str, outage: _Outage, now_s: float) -> None:
        try:
            self._server.reload_model(model)
        except (Busy, InternalError) as error:
            outage.failures += 1
            outage.retry_at_s = now_s + self._backoff_s * 2 ** (outage.failures - 1)
            self._on_event(
                SupervisorEvent("reload_failed", f"attempt {outage.failures} of {self._attempts}: {error}", model)
            )
            if outage.failures == self._attempts:
                self._on_event(
                    SupervisorEvent(
                        "gave_up", f"model '{model}' stays down: {error}; fix the cause and restart the server", model
                    )
                )
            return
        del self._outages[model]
        self._suspects.discard(model)
        self._forget(model)
        self._on_event(SupervisorEvent("reloaded", f"model '{model}' is back", model))
