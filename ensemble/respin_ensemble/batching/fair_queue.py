"""Decide which samples share the next call of a UNet. Pure decisions: no threads, no networks.

Three rules:

* Latents of different shapes cannot share a call, so shapes take turns.
* The slots of a call are allocated one by one to the request that has had the fewest, so a request with sixteen views
  does not starve a request with one.
* Within a request, samples that would delay the whole request go first, then those nearest to completion: views are
  returned early without delaying the last one. If finishing a view takes the job long, they end one after another
  instead, so that one is finished while the next ones are sampled.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby

from respin_ensemble.sampling.trajectory import Sample, UNetInput

Shape = tuple[int, ...]

_arrivals = count()


@dataclass(eq=False)
class QueuedSample:
    """A sample with its progress.

    Args:
        sample: the sample.
        index: its index within the request.
        unet_input: input of its next call; None if the sample has not started.
        steps_done: calls made for it so far.
    """

    sample: Sample
    index: int
    unet_input: UNetInput | None = None
    steps_done: int = 0

    @property
    def started(self) -> bool:
        """Whether its first call has been prepared."""
        return self.unet_input is not None

    @property
    def steps_left(self) -> int:
        """Calls that it still needs; at least one until the sample has finished."""
        return max(1, self.sample.steps - self.steps_done)


@dataclass(eq=False)
class RequestGroup:
    """The unfinished samples of one request at one UNet.

    Args:
        samples: samples that have not finished.
        shape: shape of their latents, (4, h, w).
        priority: lower numbers go first.
        spacing: number of calls in which the job finishes one sample; 0 = it is not known, or next to nothing.
        served: slots received so far, counted from the least served request at the time this one arrived.
    """

    samples: list[QueuedSample]
    shape: Shape
    priority: int = 0
    spacing: int = 0
    served: int = 0
    arrival: int = field(default_factory=lambda: next(_arrivals))

    @property
    def started(self) -> int:
        """Number of samples in progress."""
        return sum(queued.started for queued in self.samples)

    @property
    def steps_left(self) -> int:
        """Calls that all its samples together still need."""
        return sum(queued.steps_left for queued in self.samples)


class FairQueue:
    """Allocates the slots of one UNet's calls.

    Args:
        slots: samples per call.
        max_started: limit on samples in progress; a request with none in progress may always start one.
    """

    def __init__(self, slots: int, max_started: int) -> None:
        self.slots = slots
        self.max_started = max_started
        self._turn = 0
        self._last_turn: dict[Shape, int] = {}

    def join(self, group: RequestGroup, others: Iterable[RequestGroup]) -> None:
        """Add a request; it counts as having been served as little as the least served of the others."""
        group.served = min((other.served for other in others), default=0)

    def choose(self, groups: Sequence[RequestGroup]) -> list[tuple[RequestGroup, QueuedSample]]:
        """Choose the samples of the next call.

        Args:
            groups: at least one, each with at least one sample.

        Returns:
            1 to `slots` samples of one latent shape.
        """
        shape = min({group.shape for group in groups}, key=lambda shape: self._last_turn.get(shape, -1))
        self._turn += 1
        # Keep only shapes that still have samples.
        present = {group.shape: self._last_turn.get(group.shape, -1) for group in groups}
        self._last_turn = {**present, shape: self._turn}
        may_start = self.max_started - sum(group.started for group in groups)
        chosen: list[tuple[RequestGroup, QueuedSample]] = []
        for group, slots in allocate([group for group in groups if group.shape == shape], self.slots).items():
            runnable = _select_runnable(group, may_start)
            selected = select_samples(runnable, min(slots, len(runnable)), group.spacing)
            may_start -= sum(not queued.started for queued in selected)
            chosen += [(group, queued) for queued in selected]
        return chosen


def allocate(groups: Sequence[RequestGroup], slots: int) -> dict[RequestGroup, int]:
    """Allocate the slots of one call to requests, and update `served` of each.

    Higher priorities go first, but as long as there are enough slots each lower priority keeps one, so none starves.

    Args:
        groups: requests with an up-to-date `served`.
        slots: slots to allocate.

    Returns:
        Slots of each request that gets any; at most one per sample.
    """
    allocated: dict[RequestGroup, int] = {}
    in_order = sorted(groups, key=lambda group: group.priority)
    classes = [list(members) for _, members in groupby(in_order, key=lambda group: group.priority)]
    for position, members in enumerate(classes):
        reserved = min(len(classes) - position - 1, slots - 1)
        for group in _allocate_round_robin(members, slots - max(0, reserved)):
            allocated[group] = allocated.get(group, 0) + 1
            slots -= 1
        if slots == 0:
            break
    return allocated


def _allocate_round_robin(groups: Sequence[RequestGroup], slots: int) -> list[RequestGroup]:
    """Return the owner of each slot: always the least served request; on a tie the one that arrived first."""
    wanted = {group: len(group.samples) for group in groups}
    heap = [(group.served, group.arrival, group) for group in groups]
    heapq.heapify(heap)
    owners: list[RequestGroup] = []
    while heap and len(owners) < slots:
        _, arrival, group = heapq.heappop(heap)
        group.served += 1
        wanted[group] -= 1
        owners.append(group)
        if wanted[group]:
            heapq.heappush(heap, (group.served, arrival, group))
    return owners


def _select_runnable(group: RequestGroup, may_start: int) -> list[QueuedSample]:
    """Return the samples in progress and as many others as may be started."""
    in_progress = [queued for queued in group.samples if queued.started]
    fresh = [queued for queued in group.samples if not queued.started]
    return in_progress + fresh[: max(0 if in_progress else 1, may_start)]


def select_samples(samples: Sequence[QueuedSample], slots: int, spacing: int = 0) -> list[QueuedSample]:
    """Select samples so that the job ends as early as possible, and single samples early as far as that allows.

    With `slots` per call, max(longest, total / slots) calls are the minimum (McNaughton 1959). A sample that needs that
    many must run now; every other slot goes to the sample nearest to completion.

    With a spacing, the job finishes samples one after another once they are sampled: the first of n then has its own
    steps and n - 1 times the spacing before it, the last only its steps. Those with the most before them go first (Hu
    1961), so samples end about a spacing apart. Differences below a spacing do not count, lest samples take turns.

    Args:
        samples: at least `slots`.
        slots: number of samples to select.
        spacing: see `RequestGroup`.
    """
    if spacing:
        ahead = sorted(samples, key=lambda queued: (queued.steps_left, queued.index))
        level = {id(queued): queued.steps_left - place * spacing for place, queued in enumerate(ahead)}
        return sorted(ahead, key=lambda queued: -(level[id(queued)] // spacing))[:slots]
    total, longest = sum(queued.steps_left for queued in samples), max(queued.steps_left for queued in samples)
    calls = max(longest, -(-total // max(1, slots)))
    return sorted(samples, key=lambda queued: (queued.steps_left < calls, queued.steps_left, queued.index))[:slots]
