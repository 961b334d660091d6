"""Continuous batching of denoising steps: every sample of every request that is under way shares the next call.

A thread a UNet, because two loops that each call for themselves never meet: they fall into anti-phase, and a batcher
between them waits or runs half empty (docs/design.md). Here a sample joins at the next call and leaves when it is done.
The thread does nothing but choose, stack, call and advance; what a sample becomes afterwards is its job's business, in
its job's thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from types import TracebackType

from respin.errors import Busy, Cancelled, InternalError, RespinError
from respin.specs import ModelSpec
from respin_ensemble.batching.fair_queue import Entry, Party, Rota
from respin_ensemble.batching.forward import Call, Result
from respin_ensemble.batching.latency import Forecast, Pace
from respin_ensemble.batching.stepper import OnStep
from respin_ensemble.metrics import Meter, Silent
from respin_ensemble.networks import Networks
from respin_ensemble.sampling.trajectory import Latents, Sample

Stopped = Callable[[], bool]
"""Whether nobody waits for a request any more; asked before each call, so it must not wait for anything."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Room:
    """How many samples one UNet takes in.

    Args:
        started: samples on their way at most. More of them would make each come later and none sooner.
        waiting: samples that wait to be started at most, beyond which a request is refused.
    """

    started: int = 32
    waiting: int = 512


class _News:
    """What has happened to a request's samples since its job last looked; all of it under the scheduler's lock."""

    def __init__(self, lock: threading.Lock, party: Party, stopped: Stopped) -> None:
        self.party = party
        self.stopped = stopped
        self.changed = threading.Condition(lock)
        self.done = 0
        self.finished: dict[int, Latents] = {}
        self.failures: list[RespinError] = []
        self.seen = 0

    def is_there(self) -> bool:
        return self.done > self.seen or not self.party.entries

    def take(self) -> tuple[int, dict[int, Latents], bool]:
        """Steps done in all, what was finished since, and whether that was all."""
        self.seen, finished, self.finished = self.done, self.finished, {}
        return self.done, finished, not self.party.entries


class StepScheduler:
    """Drives the samples of all requests through one UNet; a context manager that ends its thread.

    Args:
        networks: to call.
        unet: the network's contract: takes what a trajectory asks (`Ask`) and each sample's conditions.
        room: how many samples it takes in.
        meter: is told of every call.
    """

    def __init__(
        self, networks: Networks, unet: ModelSpec, *, room: Room | None = None, meter: Meter | None = None
    ) -> None:
        self._unet = unet
        self._room = room or Room()
        self._meter = meter or Silent()
        self._call = Call(networks, unet)
        self._rota = Rota(unet.max_batch_size, self._room.started)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._news: dict[Party, _News] = {}
        self._closing = False
        self._pace = Pace(unet.max_batch_size)
        self._thread = threading.Thread(target=self._run, name=f"steps of {unet.name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> StepScheduler:
        """It runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `close`."""
        self.close()

    def close(self) -> None:
        """Fail whatever is under way, and end the thread."""
        with self._lock:
            self._closing = True
            self._work.notify()
        self._thread.join()

    def drive(
        self,
        samples: Sequence[Sample],
        on_step: OnStep,
        *,
        priority: int = 0,
        stopped: Stopped = lambda: False,
    ) -> Generator[dict[int, Latents]]:
        """Take a request's samples from noise to latents. Closing the generator takes those left out again.

        Args:
            samples: fresh, all of one latent shape.
            on_step: told, in the caller's thread, the steps done and the steps of all samples together; what it
                raises ends the request.
            priority: a lower number goes first.
            stopped: whether nobody waits for them any more.

        Yields:
            The clean latents of those samples that have ended since, (4, h, w) by index.

        Raises:
            Busy: there is no room for so many samples.
            Cancelled: `stopped`, or the scheduler was closed.
            InternalError: the network failed at a sample, twice, or made no numbers of it. Raised when the others
                have ended.
        """
        news = self._enter(samples, priority, stopped)
        total = sum(sample.steps for sample in samples)
        try:
            ended = False
            while not ended:
                with self._lock:
                    news.changed.wait_for(news.is_there)
                    done, finished, ended = news.take()
                on_step(min(done, total), total)
                if finished:
                    yield finished
            if news.failures:
                raise news.failures[0]
        finally:
            self._leave(news)

    def forecast(self, *, steps: int, samples: int) -> Forecast:
        """When a request of so many samples of so many steps each would be done if it came now."""
        return self._pace.forecast(steps=steps, samples=samples, load=self.load())

    def load(self) -> int:
        """Slots that the samples here still need."""
        with self._lock:
            return sum(party.left for party in self._news)

    def samples(self) -> tuple[int, int]:
        """How many samples are on their way, and how many wait."""
        with self._lock:
            return self._count()

    def _count(self) -> tuple[int, int]:
        started = sum(party.started for party in self._news)
        return started, sum(len(party.entries) for party in self._news) - started

    def _enter(self, samples: Sequence[Sample], priority: int, stopped: Stopped) -> _News:
        shape = samples[0].shape
        entries = [Entry(sample, index) for index, sample in enumerate(samples)]
        party = Party(entries, shape, priority)
        with self._lock:
            if self._closing:
                raise Cancelled("the server is stopping")
            here = sum(self._count())
            if here + len(samples) > self._room.started + self._room.waiting:
                raise Busy(
                    f"{here} pictures are in the making at {self._unet.name} and this request has {len(samples)} more, "
                    f"at most {self._room.started + self._room.waiting} have room; try again in seconds"
                )
            self._rota.welcome(party, self._news)
            news = self._news[party] = _News(self._lock, party, stopped)
            self._work.notify()
        return news

    def _leave(self, news: _News) -> None:
        with self._lock:
            news.party.entries.clear()
            self._news.pop(news.party, None)

    def _run(self) -> None:
        ended = time.perf_counter()
        while True:
            with self._lock:
                if not any(party.entries for party in self._news):
                    self._work.wait_for(lambda: self._closing or any(party.entries for party in self._news))
                    ended = time.perf_counter()
                if self._closing:
                    self._end_all(list(self._news), Cancelled("the server is stopping"))
                    return
                gone = [party for party, news in self._news.items() if party.entries and news.stopped()]
                self._end_all(gone, Cancelled("nobody waits for this request any more"))
                waiting = [party for party in self._news if party.entries]
                chosen = self._rota.choose(waiting) if waiting else []
            if chosen:
                try:
                    ended = self._step(chosen, ended)
                except Exception as error:  # a bug must not end the thread that everybody waits for
                    _log.exception("a step of %s failed", self._unet.name)
                    with self._lock:
                        failure = InternalError(f"{self._unet.name}: the step scheduler failed ({error})")
                        self._end_all({party for party, _ in chosen}, failure)

    def _step(self, chosen: list[tuple[Party, Entry]], last_ended: float) -> float:
        """One call and what follows from it; when the call ended."""
        began = time.perf_counter()
        results = self._call([entry for _, entry in chosen])
        ended = time.perf_counter()
        self._pace.record(len(chosen), ended - began)
        self._meter.observe("respin_step_overhead_seconds", began - last_ended, self._unet.name)
        self._meter.observe("respin_step_seconds", ended - began, self._unet.name)
        self._meter.observe("respin_batch_size", len(chosen), self._unet.name)
        self._meter.add("respin_unet_busy_seconds_total", self._unet.name, ended - began)
        with self._lock:
            for (party, entry), result in zip(chosen, results, strict=True):
                self._settle(party, entry, result)
            for party in {party for party, _ in chosen}:
                if party in self._news:
                    self._news[party].changed.notify()
        return ended

    def _settle(self, party: Party, entry: Entry, result: Result) -> None:
        """Put down what became of a sample; nobody may be waiting for it any more."""
        news = self._news.get(party)
        if news is None or entry not in party.entries:
            return
        entry.done += 1
        news.done += 1
        if result.ask is not None:
            entry.ask = result.ask
            return
        party.entries.remove(entry)
        if result.clean is not None:
            news.finished[entry.index] = result.clean
        if result.failure is not None:
            self._meter.add("respin_sample_failures_total", self._unet.name)
            news.failures.append(result.failure)

    def _end_all(self, parties: Sequence[Party] | set[Party], error: RespinError) -> None:
        for party in parties:
            party.entries.clear()
            self._news[party].failures.insert(0, error)
            self._news[party].changed.notify()
