"""Networks that share a device's memory: those that are not in use give theirs up when another one needs it.

Why no two jobs wait for each other: a thread holds one network at a time, for one call, and waits for nothing while it
holds it. Only the first in the queue evicts and loads. It closes the networks whose memory it needs to new calls, so
that they become idle after the calls in progress, however busy they are; calls that find them closed queue behind it.
Calls of networks that stay loaded do not queue at all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from respin.errors import Busy
from respin.gpu_memory import MIB, Sharing
from respin_ensemble.metrics import Meter, NullMeter
from respin_ensemble.networks.memory_errors import is_out_of_memory, release_frames

_log = logging.getLogger(__name__)

POLL_S = 0.05
"""How often a call that waits for memory checks whether its job was cancelled, seconds."""


class Pageable(Protocol):
    """A network that can give up its memory on a device."""

    def load(self) -> None:
        """Take the memory; called by one thread at a time, and never while the network is in use."""
        ...

    def unload(self) -> None:
        """Give the memory back, also what a failed `load` took; called as `load` is."""
        ...


@dataclass(eq=False)
class _Network:
    """The state of one network: guarded by the lock, except that `loaded` is changed by the first in the queue only."""

    name: str
    pageable: Pageable
    size_bytes: int
    is_last: bool
    loaded: bool = False
    closed: bool = False
    calls: int = 0
    used_at: int = 0

    @property
    def is_open(self) -> bool:
        return self.loaded and not self.closed


@dataclass(eq=False)
class _Ticket:
    """A call that waits for its network; `granted` once it may run."""

    network: _Network
    granted: bool = False


class Residency:
    """Loads networks as they are called, and evicts idle ones for them: the least recently used first.

    Args:
        pageables: the networks that take turns, by name; the others of the set are loaded and stay.
        sharing: how much memory there is, and how much each network takes.
        last: names of the networks that are evicted only if all others together do not make room.
        meter: receives loads and evictions.
        report: receives a line about each load; called by one thread at a time.

    Raises:
        ValueError: a network does not fit beside those that stay.
    """

    def __init__(
        self,
        pageables: Mapping[str, Pageable],
        sharing: Sharing,
        last: Collection[str] = (),
        meter: Meter | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        sizes = sharing.sizes_bytes
        self.room_bytes, self.held_bytes = sharing.room_bytes, sum(sizes[name] for name in sizes.keys() - pageables)
        for name in pageables:
            if self.held_bytes + sizes[name] > self.room_bytes:
                raise ValueError(f"{name} takes {sizes[name]} bytes and {self.room_bytes - self.held_bytes} are free")
        self._networks = {name: _Network(name, each, sizes[name], name in last) for name, each in pageables.items()}
        self._queue: list[_Ticket] = []
        self._changed = threading.Condition()
        self._clock = 0
        self._meter, self._report = meter or NullMeter(), report

    @property
    def loaded(self) -> set[str]:
        """Names of the networks that take turns and are loaded."""
        return {network.name for network in self._networks.values() if network.loaded}

    @property
    def waiting(self) -> int:
        """Number of calls that wait for memory."""
        return len(self._queue)

    @contextmanager
    def use(self, name: str, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Have a network in memory for the `with` body, which is one call; it must not use another one.

        Args:
            name: name of the network.
            check: raises if the wait for memory is to end; called now and then while it lasts.

        Raises:
            Busy: the network could not be loaded; the next call tries again.
        """
        network = self._networks.get(name)
        if network is None:
            yield
            return
        self._acquire(network, check)
        try:
            yield
        finally:
            self._leave(network)

    def _acquire(self, network: _Network, check: Callable[[], None]) -> None:
        with self._changed:
            if network.is_open:
                self._enter(network)
                return
            ticket = _Ticket(network)
            self._queue.append(ticket)
        try:
            self._await(lambda: ticket.granted or self._queue[0] is ticket, check)
            if not ticket.granted:
                self._load(network, check)
        except BaseException:
            if ticket.granted:  # while `check` raised
                self._leave(network)
            raise
        finally:
            with self._changed:
                if ticket in self._queue:
                    self._queue.remove(ticket)
                self._changed.notify_all()

    def _load(self, network: _Network, check: Callable[[], None]) -> None:
        """Make room and load; called by the first in the queue, whose call then runs, as all that wait for the same."""
        with self._closed(lambda: [] if network.loaded else self._choose_evicted(network)) as evicted:
            self._await(lambda: not any(each.calls for each in evicted), check)
            for each in evicted:
                self._evict(each)
            if not network.loaded:
                self._fill(network)
        with self._changed:
            for ticket in [each for each in self._queue if each.network is network]:
                ticket.granted = True
                self._queue.remove(ticket)
                self._enter(network)

    def _choose_evicted(self, network: _Network) -> list[_Network]:
        """Return the networks to evict: the fewest of the least recently used, idle ones first."""
        missing = network.size_bytes + self.held_bytes - self.room_bytes
        loaded = [each for each in self._networks.values() if each.loaded]
        loaded.sort(key=lambda each: (each.is_last, each.calls > 0, each.used_at))
        chosen: list[_Network] = []
        while missing > 0:
            chosen.append(loaded.pop(0))
            missing -= chosen[-1].size_bytes
        # A large one that came late may make the small ones before it unnecessary.
        for each in chosen[-2::-1]:
            if missing + each.size_bytes <= 0:
                missing += each.size_bytes
                chosen.remove(each)
        return chosen

    @contextmanager
    def _closed(self, choose: Callable[[], list[_Network]]) -> Iterator[list[_Network]]:
        """Close the chosen networks to new calls for the `with` body."""
        with self._changed:
            chosen = choose()
            for each in chosen:
                each.closed = True
        try:
            yield chosen
        finally:
            with self._changed:
                for each in chosen:
                    each.closed = False

    def _fill(self, network: _Network) -> None:
        try:
            self._try_to_fill(network)
        except Exception as error:  # runtimes have no common class for errors
            if not (is_out_of_memory(error) and self._evict_idle()):
                raise self._failure(network, error) from error
            _log.warning("idle networks were evicted, because %s could not be loaded: %s", network.name, error)
            release_frames(error)
            try:
                self._try_to_fill(network)
            except Exception as again:
                raise self._failure(network, again) from again
        network.loaded = True
        self._meter.add("respin_network_loads_total", network.name)
        self._report(
            f"loaded {network.name}; networks hold {self.held_bytes / MIB:.1f} of {self.room_bytes / MIB:.1f} MiB"
        )

    def _try_to_fill(self, network: _Network) -> None:
        self._hold(network.size_bytes)
        try:
            network.pageable.load()
        except BaseException:
            network.pageable.unload()
            self._hold(-network.size_bytes)
            raise

    def _evict_idle(self) -> bool:
        """Evict all idle networks, and return whether there were any: memory is shorter than the sizes say."""
        with self._closed(lambda: [each for each in self._networks.values() if each.loaded and not each.calls]) as idle:
            for each in idle:
                self._evict(each)
        return bool(idle)

    def _failure(self, network: _Network, error: Exception) -> Busy:
        _log.warning("%s could not be loaded: %s", network.name, error)
        return Busy(
            f"{network.name} could not be loaded into memory, for a reason that is in the server's log; send the "
            "request again"
        )

    def _evict(self, network: _Network) -> None:
        network.loaded = False
        network.pageable.unload()
        self._hold(-network.size_bytes)
        self._meter.add("respin_network_evictions_total", network.name)

    def _hold(self, more_bytes: int) -> None:
        self.held_bytes += more_bytes
        self._meter.set("respin_networks_bytes", self.held_bytes)

    def _enter(self, network: _Network) -> None:
        self._clock += 1
        network.used_at = self._clock
        network.calls += 1

    def _leave(self, network: _Network) -> None:
        with self._changed:
            network.calls -= 1
            self._changed.notify_all()

    def _await(self, holds: Callable[[], bool], check: Callable[[], None]) -> None:
        with self._changed:
            while not holds():
                self._changed.wait(POLL_S)
                check()
