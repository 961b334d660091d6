"""Watch the server's Python stubs and reload the model of one that has died.

Triton 2.51 neither restarts a dead stub nor stops calling its model ready; every request for it fails after a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol

from respin.errors import Busy, InternalError
from respin_server.stubs import Instance


@dataclass(frozen=True)
class Event:
    """Something that the supervisor saw or did.

    Args:
        kind: what happened.
        message: the same for a person.
        model: whose stub it is about; None = the whole server.
    """

    kind: Literal["stub_died", "reloaded", "reload_failed", "gave_up", "server_died"]
    message: str
    model: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the server cannot do its work from now on."""
        return self.kind in ("gave_up", "server_died")


class WatchedServer(Protocol):
    """What the supervisor needs of a server; `EmbeddedTriton` is one."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models that ought to be served."""

    def is_running(self) -> bool:
        """Whether the server's process lives."""

    def living_instances(self) -> Set[Instance]:
        """The model instances whose stub lives."""

    def model_is_ready(self, model: str) -> bool:
        """Whether the server offers the model; Busy where it does not answer."""

    def reload_model(self, model: str) -> None:
        """Replace the model's instances; Busy or InternalError where that fails."""


@dataclass
class _Outage:
    """A model that is down: failed reloads in a row, and when to try again on the monotonic clock."""

    failures: int = 0
    retry_at_s: float = 0.0


class Supervisor:
    """A thread that keeps the stubs of one server alive, from `start` to `stop`; a context manager that does both.

    Args:
        server: to watch; every model is ready, so that every instance that ought to live does.
        on_event: called from the supervisor's thread.
        period_s: between two looks; a stub is dead when it is missing in two in a row.
        attempts: reloads of one model that may fail in a row before it is given up.
        backoff_s: wait after the first failed reload; doubled after each further one.
    """

    def __init__(
        self,
        server: WatchedServer,
        on_event: Callable[[Event], None],
        *,
        period_s: float = 0.5,
        attempts: int = 5,
        backoff_s: float = 1.0,
    ) -> None:
        """Remember what to watch; nothing is watched yet."""
        self._server = server
        self._on_event = on_event
        self._period_s = period_s
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._expected: set[Instance] = set()
        self._suspects: set[str] = set()
        self._outages: dict[str, _Outage] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="respin-supervisor", daemon=True)

    def __enter__(self) -> Supervisor:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching; a reload under way is finished first."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while self.look(time.monotonic()) and not self._stop.wait(self._period_s):
            pass

    def look(self, now_s: float) -> bool:
        """Look once, and reload what is dead.

        Args:
            now_s: monotonic time.

        Returns:
            whether the server lives.
        """
        if not self._server.is_running():
            self._on_event(Event("server_died", "tritonserver has died"))
            return False
        try:
            self._note_deaths()
        except Busy:
            return True  # it is dying, or too busy to say; the next look will tell
        for model, outage in list(self._outages.items()):
            if outage.failures < self._attempts and now_s >= outage.retry_at_s:
                self._reload(model, outage, now_s)
        return True

    def _note_deaths(self) -> None:
        living = self._server.living_instances()
        self._expected |= living
        whole = {instance.model for instance in living} - {instance.model for instance in self._expected - living}
        down = set(self._server.models) - whole
        for model in set(self._outages) - down:
            del self._outages[model]  # an operator has loaded it again
        # Missing once may be a stub that is just being replaced; one look later its successor is there.
        for model in sorted((down & self._suspects) - set(self._outages)):
            if self._server.model_is_ready(model):
                self._outages[model] = _Outage()
                self._on_event(Event("stub_died", f"a stub of model '{model}' has died; reloading the model", model))
            else:
                self._forget(model)  # an operator has unloaded it
        self._suspects = down

    def _forget(self, model: str) -> None:
        """Expect nothing of the model's instances: the next ones may be others."""
        self._expected = {instance for instance in self._expected if instance.model != model}

    def _reload(self, model: str, outage: _Outage, now_s: float) -> None:
        try:
            self._server.reload_model(model)
        except (Busy, InternalError) as error:
            outage.failures += 1
            outage.retry_at_s = now_s + self._backoff_s * 2 ** (outage.failures - 1)
            self._on_event(Event("reload_failed", f"attempt {outage.failures} of {self._attempts}: {error}", model))
            if outage.failures == self._attempts:
                self._on_event(Event("gave_up", f"model '{model}' stays down: {error}; mend it and restart", model))
            return
        del self._outages[model]
        self._suspects.discard(model)
        self._forget(model)
        self._on_event(Event("reloaded", f"model '{model}' is back", model))
