"""What the admitted jobs have left to do: work is counted in calls of networks, each with the time of its fastest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from respin.contracts.networks import (
    CLIP_TEXT,
    CLIP_VISION,
    EDSR,
    GROUNDING_DINO,
    INPAINT_UNET,
    SAM_DECODER,
    SAM_ENCODER,
    VAE_DECODER,
    VAE_ENCODER,
    ZERO123_UNET,
)
from respin.model_set import Sizes
from respin.request import RotationRequest
from respin.specs import Array, ModelSpec
from respin_ensemble.networks import Networks
from respin_ensemble.pipeline.events import JobEvent

Phase = Literal["scene", "background", "views", "finish"]
"""Parts of a job: find the object; paint the background; sample the views; enlarge, cut out and compose them."""

Unit = str
"""Unit of work: one sample of a network, by the network's name, or one `PIXEL`."""

PIXEL = "pixel"
"""Unit of work that decodes one pixel of a photo, or composes and encodes it."""

PIXEL_S = 1e-7
"""Time of one `PIXEL`, seconds."""

FIND_OBJECT: Mapping[Unit, float] = {GROUNDING_DINO.name: 1, SAM_ENCODER.name: 1, SAM_DECODER.name: 1}
"""Work that finds an object and its mask, in a photo or in a novel view."""

INITIAL_S = 0.5
"""Assumed duration of a sample of a network until the first was measured, seconds. Too long on most machines: while
nothing is known, a refusal costs less than a deadline."""

MIN_LEFT = 0.01
"""Least share of a job's work that is left before it has ended."""


class Costs(Protocol):
    """The time of one unit of each kind of work; `CostModel` is one."""

    def __getitem__(self, unit: Unit, /) -> float:
        """Return the seconds of a unit at its fastest."""
        ...

    def __contains__(self, unit: object, /) -> bool:
        """Return whether the unit was measured."""
        ...


@dataclass(frozen=True)
class Work:
    """The work of one job: how many units of each kind each of its phases has."""

    units: Mapping[Phase, Mapping[Unit, float]]

    @classmethod
    def from_request(cls, request: RotationRequest, pixels: int) -> Work:
        """Return the work of a request whose photo has so many pixels, if nothing of it is cached."""
        views = request.views
        scene = {**FIND_OBJECT, PIXEL: pixels}
        if request.box is not None:
            del scene[GROUNDING_DINO.name]
        if not views:
            return cls({"scene": {**scene, PIXEL: 2 * pixels}})
        background = {CLIP_TEXT.name: 2, VAE_ENCODER.name: 1, VAE_DECODER.name: 1}
        return cls(
            {
                "scene": scene,
                "background": {**background, INPAINT_UNET.name: request.background_steps},
                "views": {
                    CLIP_VISION.name: 1,
                    VAE_ENCODER.name: 1,
                    ZERO123_UNET.name: views * request.steps,
                    VAE_DECODER.name: views,
                },
                "finish": {EDSR.name: views, **dict.fromkeys(FIND_OBJECT, views), PIXEL: views * pixels},
            }
        )

    def without(self, phases: Sequence[Phase]) -> Work:
        """Return the work if these phases come from a cache."""
        return Work({phase: units for phase, units in self.units.items() if phase not in phases})

    def is_known(self, costs: Costs) -> bool:
        """Return whether all units of the work were measured."""
        return all(unit in costs for units in self.units.values() for unit in units)

    def seconds(self, phase: Phase, costs: Costs) -> float:
        """Return the seconds of a phase; 0 if the job does not have it."""
        return sum(amount * costs[unit] for unit, amount in self.units.get(phase, {}).items())


class CostModel:
    """The fastest call of each network so far, per sample."""

    def __init__(self) -> None:
        self._fastest_s: dict[Unit, float] = {PIXEL: PIXEL_S}

    def __getitem__(self, unit: Unit) -> float:
        """Return the seconds of a unit at its fastest; a guess until it was first measured."""
        return self._fastest_s.get(unit, INITIAL_S)

    def __contains__(self, unit: object) -> bool:
        """Return whether a unit was measured."""
        return unit in self._fastest_s

    def record(self, network: str, samples: int, call_s: float) -> None:
        """Record the duration of one call of a network.

        Args:
            network: its name.
            samples: batch size of the call.
            call_s: duration in seconds.
        """
        sample_s = call_s / max(1, samples)
        self._fastest_s[network] = min(sample_s, self._fastest_s.get(network, sample_s))


class TimedNetworks:
    """Networks whose calls are recorded in a cost model.

    Args:
        networks: the networks.
        costs: receives the duration of every call that succeeds.
    """

    def __init__(self, networks: Networks, costs: CostModel) -> None:
        self._networks = networks
        self._costs = costs

    @property
    def sizes(self) -> Sizes:
        """The image sizes that the set was made for."""
        return self._networks.sizes

    def for_job(self, check: Callable[[], None]) -> TimedNetworks:
        """See `Networks`."""
        return TimedNetworks(self._networks.for_job(check), self._costs)

    def __call__(self, spec: ModelSpec, **arrays: Array) -> dict[str, Array]:
        """See `Networks`."""
        began_s = time.perf_counter()
        outputs = self._networks(spec, **arrays)
        self._costs.record(spec.name, len(arrays[spec.inputs[0].name]), time.perf_counter() - began_s)
        return outputs


class JobProgress:
    """How much of one admitted job is done. Thread-safe.

    Args:
        work: its work.
        views: number of its views.
        deadline_at_s: its deadline on the monotonic clock, seconds; None = it has none.
    """

    def __init__(self, work: Work, views: int, deadline_at_s: float | None) -> None:
        self.deadline_at_s = deadline_at_s
        self._work = work
        self._views = views
        self._finished = 0
        self._done: dict[Phase, float] = {}
        self._lock = threading.Lock()

    def left_s(self, costs: Costs) -> float:
        """Return the work that is left, seconds; a job that has not ended has some left."""
        with self._lock:
            done = self._done.copy()
        seconds: dict[Phase, float] = {phase: self._work.seconds(phase, costs) for phase in self._work.units}
        left_s = sum(phase_s * (1 - done.get(phase, 0.0)) for phase, phase_s in seconds.items())
        return max(MIN_LEFT * sum(seconds.values()), left_s)

    def observe(self, event: JobEvent) -> dict[Unit, float]:
        """Record an event of the job, and return the work that was done for it.

        A result that is there before any step towards it comes from a cache: that was no work.
        """
        with self._lock:
            if event.stage == "segmentation":
                return self._complete("scene") if event.results else self._advance("scene", 0.5)
            if event.stage == "background":
                share = event.step / event.steps if event.steps else 0.0
                return self._complete("background") if event.results else self._advance("background", share)
            if event.stage == "novel_view" and event.results:
                self._finished += 1
                return self._advance("finish", self._finished / max(1, self._views))
            if event.stage == "novel_view" and event.steps:
                return self._advance("views", event.step / event.steps)
        return {}

    def _complete(self, phase: Phase) -> dict[Unit, float]:
        began = self._done.get(phase, 0.0) > 0
        units = self._advance(phase, 1.0)
        return units if began else {}

    def _advance(self, phase: Phase, share: float) -> dict[Unit, float]:
        before = self._done.get(phase, 0.0)
        self._done[phase] = max(before, min(1.0, share))
        more = self._done[phase] - before
        return {unit: more * amount for unit, amount in self._work.units.get(phase, {}).items()} if more else {}
