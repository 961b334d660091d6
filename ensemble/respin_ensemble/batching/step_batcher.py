"""Continuous batching of denoising steps: all samples in progress, of all requests, share the next call of the UNet.

There is one thread per UNet. Two loops that call the UNet independently never meet: they fall into anti-phase, and a
batcher between them either waits or runs half empty (docs/design.md). Here a sample joins at the next call and leaves
when it is done. The thread only chooses, stacks, calls and advances; everything that follows runs in the job's thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

from respin.errors import Busy, Cancelled, InternalError, RespinError
from respin.specs import ModelSpec
from respin_ensemble.batching.fair_queue import FairQueue, QueuedSample, RequestGroup
from respin_ensemble.batching.forward import BatchedForward, StepResult
from respin_ensemble.batching.latency import LatencyForecast, LatencyModel
from respin_ensemble.batching.stepper import CancellationToken, OnStep
from respin_ensemble.metrics import Meter, NullMeter
from respin_ensemble.networks import Networks
from respin_ensemble.sampling.trajectory import Latents, Sample

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Capacity:
    """How many samples one UNet accepts.

    Args:
        started: limit on samples in progress; more would delay each of them and finish none sooner.
        waiting: limit on samples waiting to start; a request beyond it is rejected.
    """

    started: int = 32
    waiting: int = 512

    @property
    def total(self) -> int:
        """Limit on samples in progress and waiting together."""
        return self.started + self.waiting


class RequestState:
    """Progress and results of one request since its job last took them. Guarded by the batcher's lock."""

    def __init__(self, lock: threading.Lock, group: RequestGroup, cancellation: CancellationToken | None) -> None:
        self.group = group
        self.cancellation = cancellation
        self.changed = threading.Condition(lock)
        self.steps_done = 0
        self.finished: dict[int, Latents] = {}
        self.errors: list[RespinError] = []
        self._steps_taken = 0

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since the last `take`."""
        return self.steps_done > self._steps_taken or not self.group.samples

    def take(self) -> tuple[int, dict[int, Latents], bool]:
        """Return the steps done in total, the samples finished since the last call, and whether those were the last."""
        self._steps_taken, finished, self.finished = self.steps_done, self.finished, {}
        return self.steps_done, finished, not self.group.samples


class StepBatcher:
    """Runs the samples of all requests through one UNet; a context manager that stops its thread.

    Args:
        networks: the networks of the set.
        unet: contract of the UNet: takes a `UNetInput` and the conditions of each sample.
        capacity: limits on the samples accepted; None = the default.
        meter: receives the measurements of every call.
    """

    def __init__(
        self, networks: Networks, unet: ModelSpec, *, capacity: Capacity | None = None, meter: Meter | None = None
    ) -> None:
        self._unet = unet
        self._capacity = capacity or Capacity()
        self._meter = meter or NullMeter()
        self._forward = BatchedForward(networks, unet)
        self._queue = FairQueue(unet.max_batch_size, self._capacity.started)
        self._latency = LatencyModel(unet.max_batch_size)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._requests: dict[RequestGroup, RequestState] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name=f"steps of {unet.name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> StepBatcher:
        """Return the batcher, which is already running."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the batcher."""
        self.close()

    def close(self) -> None:
        """Fail all samples in progress and stop the thread."""
        with self._lock:
            self._closing = True
            self._work.notify()
        self._thread.join()

    def run(
        self,
        samples: Sequence[Sample],
        on_step: OnStep,
        *,
        priority: int = 0,
        finishing_s: float = 0.0,
        cancellation: CancellationToken | None = None,
    ) -> Generator[dict[int, Latents]]:
        """Denoise the samples of one request. Closing the generator withdraws the samples that are left.

        Args:
            samples: fresh samples of one latent shape.
            on_step: progress callback, called in the caller's thread; an exception in it ends the request.
            priority: lower numbers go first.
            finishing_s: how long the job takes to finish one sample after another, seconds; samples end about as far
                apart. 0 = not known.
            cancellation: stops the request before its next call; None = it cannot be cancelled.

        Yields:
            The clean latents of the samples that have finished since the last yield, (4, h, w) by index.

        Raises:
            Busy: the samples exceed the capacity.
            Cancelled: `cancellation` was requested, or the batcher was closed.
            InternalError: the UNet failed twice for a sample, or its output is not finite; raised after all other
                samples have finished.
        """
        state = self._enqueue(samples, priority, finishing_s, cancellation)
        total = sum(sample.steps for sample in samples)
        try:
            ended = False
            while not ended:
                with self._lock:
                    state.changed.wait_for(lambda: state.has_news)
                    done, finished, ended = state.take()
                if cancellation is not None:
                    cancellation.check()
                on_step(min(done, total), total)
                if finished:
                    yield finished
            if state.errors:
                raise state.errors[0]
        finally:
            self._withdraw(state)

    def forecast(self, *, steps: int, samples: int) -> LatencyForecast:
        """Forecast when a request would be done if it arrived now.

        Args:
            steps: steps of each of its samples.
            samples: number of its samples.
        """
        return self._latency.forecast(steps=steps, samples=samples, load=self.load())

    def load(self) -> int:
        """Return the number of slots that the current samples still need."""
        with self._lock:
            return sum(group.steps_left for group in self._requests)

    def count_samples(self) -> tuple[int, int]:
        """Return the numbers of samples in progress and waiting."""
        with self._lock:
            return self._count_samples()

    def _count_samples(self) -> tuple[int, int]:
        started = sum(group.started for group in self._requests)
        return started, sum(len(group.samples) for group in self._requests) - started

    def _enqueue(
        self, samples: Sequence[Sample], priority: int, finishing_s: float, cancellation: CancellationToken | None
    ) -> RequestState:
        queued = [QueuedSample(sample, index) for index, sample in enumerate(samples)]
        group = RequestGroup(queued, samples[0].shape, priority, self._latency.calls_within(finishing_s))
        with self._lock:
            if self._closing:
                raise Cancelled("the server is stopping")
            held = sum(self._count_samples())
            if held + len(samples) > self._capacity.total:
                raise Busy(
                    f"{self._unet.name} has {held} samples queued and this request adds {len(samples)}; "
                    f"the limit is {self._capacity.total}. Retry in a few seconds"
                )
            self._queue.join(group, self._requests)
            state = self._requests[group] = RequestState(self._lock, group, cancellation)
            self._work.notify()
        return state

    def _withdraw(self, state: RequestState) -> None:
        with self._lock:
            state.group.samples.clear()
            self._requests.pop(state.group, None)

    def _has_work(self) -> bool:
        return any(group.samples for group in self._requests)

    def _loop(self) -> None:
        last_ended_s = time.perf_counter()
        while True:
            with self._lock:
                if not self._has_work():
                    self._work.wait_for(lambda: self._closing or self._has_work())
                    last_ended_s = time.perf_counter()
                if self._closing:
                    self._end(list(self._requests), Cancelled("the server is stopping"))
                    return
                self._end_cancelled()
                waiting = [group for group in self._requests if group.samples]
                chosen = self._queue.choose(waiting) if waiting else []
            if chosen:
                try:
                    last_ended_s = self._step(chosen, last_ended_s)
                except Exception as error:  # a bug must not end the thread that all jobs wait for
                    _log.exception("a step of %s failed", self._unet.name)
                    with self._lock:
                        failure = InternalError(f"the step batcher of {self._unet.name} failed: {error}")
                        failure.__cause__ = error
                        self._end({group for group, _ in chosen}, failure)

    def _step(self, chosen: Sequence[tuple[RequestGroup, QueuedSample]], last_ended_s: float) -> float:
        """Make one call, record its results, and return when it ended."""
        began_s = time.perf_counter()
        results = self._forward([queued for _, queued in chosen])
        ended_s = time.perf_counter()
        self._latency.record(len(chosen), ended_s - began_s)
        self._meter.observe("respin_step_overhead_seconds", began_s - last_ended_s, self._unet.name)
        self._meter.observe("respin_step_seconds", ended_s - began_s, self._unet.name)
        self._meter.observe("respin_batch_size", len(chosen), self._unet.name)
        self._meter.add("respin_unet_busy_seconds_total", self._unet.name, ended_s - began_s)
        with self._lock:
            for (group, queued), result in zip(chosen, results, strict=True):
                self._record(group, queued, result)
            for group in {group for group, _ in chosen}:
                if group in self._requests:
                    self._requests[group].changed.notify()
        return ended_s

    def _record(self, group: RequestGroup, queued: QueuedSample, result: StepResult) -> None:
        """Record the result of a sample, unless its request was withdrawn during the call."""
        state = self._requests.get(group)
        if state is None or queued not in group.samples:
            return
        queued.steps_done += 1
        state.steps_done += 1
        if result.unet_input is not None:
            queued.unet_input = result.unet_input
            return
        group.samples.remove(queued)
        if result.clean is not None:
            state.finished[queued.index] = result.clean
        if result.error is not None:
            self._meter.add("respin_sample_failures_total", self._unet.name)
            state.errors.append(result.error)

    def _end_cancelled(self) -> None:
        for group, state in self._requests.items():
            if group.samples and state.cancellation is not None and state.cancellation.requested:
                self._end([group], Cancelled("the request was cancelled"))

    def _end(self, groups: Iterable[RequestGroup], error: RespinError) -> None:
        for group in groups:
            group.samples.clear()
            self._requests[group].errors.insert(0, error)
            self._requests[group].changed.notify()
