"""What a job works with: the networks, the step batchers, the caches, and its cancellation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from respin.specs import Array
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.batching.stepper import Stepper
from respin_ensemble.metrics import Meter, NullMeter
from respin_ensemble.networks import Networks
from respin_ensemble.pipeline.cache import Cache
from respin_ensemble.pipeline.cancellation import Cancellation
from respin_ensemble.pipeline.finishing import FinishingTime
from respin_ensemble.pipeline.outline import Outline
from respin_ensemble.stages.inpainting import Patch
from respin_ensemble.stages.novel_view import CameraProjection, Condition

CACHE_SHARES: Mapping[str, float] = {"outline": 0.25, "condition": 0.05, "text": 0.2, "background": 0.5}
"""Share of the cache memory by kind of result."""


class Caches:
    """Results that later jobs on the same photo reuse: one cache per kind of result.

    Args:
        capacity_bytes: limit on the size of all caches together; 0 = nothing is cached.
        meter: receives hits, misses, evictions and bytes.
    """

    def __init__(self, capacity_bytes: int = 0, meter: Meter | None = None) -> None:
        capacity = {name: int(share * capacity_bytes) for name, share in CACHE_SHARES.items()}
        self.outlines: Cache[Outline] = Cache("outline", capacity["outline"], meter)
        self.conditions: Cache[Condition] = Cache("condition", capacity["condition"], meter)
        self.texts: Cache[Array] = Cache("text", capacity["text"], meter)
        self.backgrounds: Cache[Patch] = Cache("background", capacity["background"], meter)


@dataclass(frozen=True)
class JobContext:
    """What a job works with. The first seven fields are shared by all jobs of an engine.

    Args:
        networks: the networks of the set.
        batchers: run the two UNets.
        executor: runs the background beside the novel views; it must not be the one that runs the job.
        projection: turns camera moves into contexts.
        caches: results of earlier jobs.
        meter: receives the duration of each stage.
        finishing: measures how long views take to be finished.
        cancellation: stops this job.
        priority: priority of this job's samples; lower numbers go first.
        notes: sentences about the set for every caller (`ModelSet.notes`).
    """

    networks: Networks
    batchers: StepBatchers
    executor: Executor
    projection: CameraProjection
    caches: Caches = field(default_factory=Caches)
    meter: Meter = field(default_factory=NullMeter)
    finishing: FinishingTime = field(default_factory=FinishingTime)
    cancellation: Cancellation = field(default_factory=Cancellation)
    priority: int = 0
    notes: tuple[str, ...] = ()

    def with_cancellation(self, cancellation: Cancellation) -> JobContext:
        """Return this context for a job, or a part of one, that a cancellation stops."""
        return replace(self, cancellation=cancellation, networks=self.networks.for_job(cancellation.check))

    @property
    def stepper(self) -> Stepper:
        """The batchers with this job's priority and cancellation."""
        return partial(self.batchers.run, priority=self.priority, cancellation=self.cancellation)

    @property
    def view_stepper(self) -> Stepper:
        """The batchers for views of this job, whose samples end about as far apart as their views are finished."""
        return partial(
            self.batchers.run,
            priority=self.priority,
            finishing_s=self.finishing.view_s,
            cancellation=self.cancellation,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run a stage in the `with` body and record its duration unless it fails.

        Raises:
            Cancelled: the job was cancelled before the stage began.
        """
        self.cancellation.check()
        began_s = time.perf_counter()
        yield
        self.meter.observe("respin_stage_seconds", time.perf_counter() - began_s, name)
