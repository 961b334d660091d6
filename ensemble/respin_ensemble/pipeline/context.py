"""What a job works with: the networks, whoever steps the UNets, and what earlier jobs have left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field

from respin.specs import Array
from respin_ensemble.batching.stepper import Stepper
from respin_ensemble.metrics import Meter, Silent
from respin_ensemble.networks import Networks
from respin_ensemble.pipeline.cache import Cache
from respin_ensemble.pipeline.outline import Outline
from respin_ensemble.stages.inpainting import Patch
from respin_ensemble.stages.novel_view import Condition, Moves

SHARES: Mapping[str, float] = {"outline": 0.25, "condition": 0.05, "text": 0.2, "background": 0.5}
"""How the kinds of results share the memory that they may take together."""


class Caches:
    """What jobs leave to later ones on the same photo, each kind bounded by itself.

    Args:
        capacity_bytes: of all kinds together; 0 = nothing is kept.
        meter: is told of hits and misses.
    """

    def __init__(self, capacity_bytes: int = 0, meter: Meter | None = None) -> None:
        room = {name: int(share * capacity_bytes) for name, share in SHARES.items()}
        self.outlines: Cache[Outline] = Cache("outline", room["outline"], meter)
        self.conditions: Cache[Condition] = Cache("condition", room["condition"], meter)
        self.texts: Cache[Array] = Cache("text", room["text"], meter)
        self.backgrounds: Cache[Patch] = Cache("background", room["background"], meter)


@dataclass(frozen=True)
class Workshop:
    """What a job works with.

    Args:
        networks: of the set.
        stepper: drives the two UNets for this job.
        branches: runs the background beside the views.
        moves: camera moves as contexts.
        caches: what earlier jobs left.
        meter: is told how long each stage takes.
        still_wanted: raises when nobody waits for this job any more; asked while it waits for another's result.
    """

    networks: Networks
    stepper: Stepper
    branches: Executor
    moves: Moves
    caches: Caches = field(default_factory=Caches)
    meter: Meter = field(default_factory=Silent)
    still_wanted: Callable[[], None] = lambda: None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens in the `with`; a stage that fails is not counted."""
        began = time.perf_counter()
        yield
        self.meter.observe("respin_stage_seconds", time.perf_counter() - began, name)
