"""Supervise the server's Python stubs, and notice when one has died, or the server itself.

Triton 2.51 neither restarts a dead stub nor reports its model as not ready; every request to it fails after a second.
What a stub had accepted and not answered stays in Triton for good: callers that wait, threads, memory and the process's
zombie, also when the model is loaded again. So the remedy for a dead stub is to restart the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Set
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol

from respin.contracts import ROTATE_OBJECT_STREAM
from respin.errors import Busy
from respin_server.stubs import Instance

FULL_S = 30.0
"""Least time between two restarts of a server that holds too much memory, seconds."""

HUNG_S = 60.0
"""Time without a heartbeat after which an engine that is not stopped hangs, seconds: busy machines beat every few."""


@dataclass(frozen=True)
class SupervisorEvent:
    """Something that the supervisor observed.

    Args:
        kind: what happened.
        message: the same in words.
        model: the model concerned; None = the whole server.
    """

    kind: Literal["stub_died", "server_died", "hung", "full", "stopped", "continued"]
    message: str
    model: str | None = None

    @property
    def needs_restart(self) -> bool:
        """Whether restarting the server is the remedy; the supervisor has ended then."""
        return self.kind in ("stub_died", "server_died", "hung", "full")

    @property
    def works(self) -> bool:
        """Whether the server still answers, so that its jobs can finish before it is restarted."""
        return self.kind == "full"


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

    def heartbeat(self) -> int | None:
        """Return a number that changes while the engine works; None = it does not show that."""

    def held_mib(self) -> float:
        """Return the memory that the server holds beside its models' processes, MiB."""

    def model_is_ready(self, model: str) -> bool:
        """Return whether the server offers the model; raise Busy if it does not respond."""


class Supervisor:
    """A thread that watches the stubs of one server; a context manager that starts and stops it.

    Args:
        server: the server; all its models must be ready, so that all its instances are running.
        on_event: called from the supervisor's thread.
        period_s: time between two polls, seconds; a stub that is missing in two polls in a row is dead.
        hung_s: an engine without a heartbeat for so long hangs, seconds.
        most_mib: memory above which the server is restarted, MiB; 0 = no limit.
    """

    def __init__(
        self,
        server: SupervisedServer,
        on_event: Callable[[SupervisorEvent], None],
        *,
        period_s: float = 0.3,
        hung_s: float = HUNG_S,
        most_mib: int = 0,
    ) -> None:
        self._server = server
        self._on_event = on_event
        self._period_s = period_s
        self._expected: set[Instance] = set()
        self._suspects: set[str] = set()
        self._stopped: Set[Instance] = frozenset()
        # Polls are counted, not seconds: where everything was frozen, this thread was too.
        self._polls_until_hung = hung_s / period_s
        self._silent_polls = 0
        self._most_mib = most_mib
        # A server that needs more than that for its work is not restarted all the time.
        self._polls_until_full = FULL_S / period_s
        self._heartbeat: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="respin-supervisor", daemon=True)

    def __enter__(self) -> Supervisor:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the thread; a poll in progress is finished first."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while self.poll() and not self._stop.wait(self._period_s):
            pass

    def poll(self) -> bool:
        """Poll once.

        Returns:
            Whether all is well.
        """
        if not self._server.is_running():
            self._on_event(SupervisorEvent("server_died", "tritonserver has died"))
            return False
        self._note_stops()
        try:
            event = self._find_dead() or self._find_hung() or self._find_full()
        except Busy:
            return True  # it is exiting, or overloaded; the next poll decides
        if event is not None:
            self._on_event(event)
        return event is None

    def _note_stops(self) -> None:
        """Report stubs that were stopped and have been continued: they are not dead, and keep their requests."""
        stopped = self._server.stopped_instances()
        for model, name in sorted(stopped - self._stopped):
            message = f"the process of '{name}' was stopped by a signal; continue it (kill -CONT) or kill it"
            self._on_event(SupervisorEvent("stopped", message, model))
        for model, name in sorted(self._stopped - stopped):
            self._on_event(SupervisorEvent("continued", f"the process of '{name}' is no longer stopped", model))
        self._stopped = stopped

    def _find_hung(self) -> SupervisorEvent | None:
        """Report an engine that gives no sign of life; while it is loaded or unloaded it has none to give."""
        heartbeat, engine = self._server.heartbeat(), ROTATE_OBJECT_STREAM.name
        stopped = any(instance.model == engine for instance in self._stopped)
        silent = heartbeat is not None and heartbeat == self._heartbeat and not stopped
        self._silent_polls = self._silent_polls + 1 if silent else 0
        self._heartbeat = heartbeat
        if self._silent_polls < self._polls_until_hung:
            return None
        self._silent_polls = 0
        if not self._server.model_is_ready(engine):
            return None
        return SupervisorEvent("hung", f"the process of model '{engine}' hangs", engine)

    def _find_full(self) -> SupervisorEvent | None:
        """Report a server that holds too much memory, once it has been watched for a while."""
        self._polls_until_full -= 1
        if not self._most_mib or self._polls_until_full > 0:
            return None
        held_mib = self._server.held_mib()
        if held_mib <= self._most_mib:
            return None
        return SupervisorEvent("full", f"tritonserver holds {held_mib:.0f} MiB; the limit is {self._most_mib}")

    def _find_dead(self) -> SupervisorEvent | None:
        """Report a model whose stub has died."""
        living = self._server.living_instances()
        self._expected |= living
        whole = {instance.model for instance in living} - {instance.model for instance in self._expected - living}
        down = set(self._server.models) - whole
        # A stub that is missing once may just be being replaced; its successor is there at the next poll.
        for model in sorted(down & self._suspects):
            if self._server.model_is_ready(model):
                return SupervisorEvent("stub_died", f"a process of model '{model}' has died", model)
            # Unloaded by an operator: the next instances may have other names.
            self._expected = {instance for instance in self._expected if instance.model != model}
        self._suspects = down
        return None
