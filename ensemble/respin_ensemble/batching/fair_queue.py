"""Who gets the slots of a UNet's next call: pure decisions, without threads and without networks.

Three rules, one for each way in which sharing can go wrong. Latents of different shapes cannot share a call, so the
shapes take turns. The slots of a call are dealt one by one to the request that has had fewest, so that a request of
sixteen views does not starve a request of one. And within a request, the samples that would make the whole late go
first, then those that are nearest to their end, so that views come out early without the last one coming out later.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby

from respin_ensemble.sampling.trajectory import Ask, Sample

Shape = tuple[int, ...]

_arrivals = count()


@dataclass(eq=False)
class Entry:
    """One sample of a request.

    Args:
        sample: where it goes.
        index: among the request's.
        ask: what it wants predicted; None = it has not been started.
        done: calls that it has had.
    """

    sample: Sample
    index: int
    ask: Ask | None = None
    done: int = 0

    @property
    def left(self) -> int:
        """Calls that it still needs; one at least, as long as it has not ended."""
        return max(1, self.sample.steps - self.done)


@dataclass(eq=False)
class Party:
    """What a request has at one UNet: samples of one latent shape.

    Args:
        entries: those that have not ended.
        shape: of their latents.
        priority: a lower number goes first.
        served: slots that it has had, counted from those of the request that had fewest when it came.
    """

    entries: list[Entry]
    shape: Shape
    priority: int = 0
    served: int = 0
    arrival: int = field(default_factory=lambda: next(_arrivals))

    @property
    def started(self) -> int:
        """How many of its samples are under way."""
        return sum(entry.ask is not None for entry in self.entries)

    @property
    def left(self) -> int:
        """Calls that its samples still need, all together."""
        return sum(entry.left for entry in self.entries)


class Rota:
    """Deals the slots of one UNet's calls.

    Args:
        slots: of a call.
        most_started: samples under way at most; a request that has none under way may always start one.
    """

    def __init__(self, slots: int, most_started: int) -> None:
        self.slots = slots
        self.most_started = most_started
        self._turn = 0
        self._last_turn: dict[Shape, int] = {}

    def welcome(self, party: Party, others: Iterable[Party]) -> None:
        """Let a request in behind nobody and before nobody: it has had as little as the one that had least."""
        party.served = min((other.served for other in others), default=0)

    def choose(self, parties: Sequence[Party]) -> list[tuple[Party, Entry]]:
        """Choose who shares the next call.

        Args:
            parties: at least one, each with at least one entry.

        Returns:
            1..slots entries of one latent shape.
        """
        shape = min({party.shape for party in parties}, key=lambda shape: self._last_turn.get(shape, -1))
        self._turn += 1
        # Shapes that nobody has any more are forgotten.
        present = {party.shape: self._last_turn.get(party.shape, -1) for party in parties}
        self._last_turn = {**present, shape: self._turn}
        room = self.most_started - sum(party.started for party in parties)
        chosen: list[tuple[Party, Entry]] = []
        for party, slots in deal([party for party in parties if party.shape == shape], self.slots).items():
            allowed = _may_run(party, room)
            picked = soonest_of_all(allowed, min(slots, len(allowed)))
            room -= sum(entry.ask is None for entry in picked)
            chosen += [(party, entry) for entry in picked]
        return chosen


def deal(parties: Sequence[Party], slots: int) -> dict[Party, int]:
    """Share the slots of one call among requests, and remember what each got.

    Higher priorities are served first, but where there are slots enough each lower one keeps one: none ever starves.

    Args:
        parties: with their `served` up to date; it is brought up to date again.
        slots: to deal.

    Returns:
        how many slots each request gets that gets any, at most one a sample.
    """
    shares: dict[Party, int] = {}
    in_order = sorted(parties, key=lambda party: party.priority)
    classes = [list(members) for _, members in groupby(in_order, key=lambda party: party.priority)]
    for position, members in enumerate(classes):
        kept = min(len(classes) - position - 1, slots - 1)
        for party in _in_turn(members, slots - max(0, kept)):
            shares[party] = shares.get(party, 0) + 1
            slots -= 1
        if slots == 0:
            break
    return shares


def _in_turn(parties: Sequence[Party], slots: int) -> list[Party]:
    """Who gets each slot: whoever has had fewest, of equals whoever came first."""
    wanted = {party: len(party.entries) for party in parties}
    queue = [(party.served, party.arrival, party) for party in parties]
    heapq.heapify(queue)
    dealt: list[Party] = []
    while queue and len(dealt) < slots:
        _, arrival, party = heapq.heappop(queue)
        party.served += 1
        wanted[party] -= 1
        dealt.append(party)
        if wanted[party]:
            heapq.heappush(queue, (party.served, arrival, party))
    return dealt


def _may_run(party: Party, room: int) -> list[Entry]:
    """The samples that are under way, and as many others as may be started."""
    under_way = [entry for entry in party.entries if entry.ask is not None]
    fresh = [entry for entry in party.entries if entry.ask is None]
    return under_way + fresh[: max(0 if under_way else 1, room)]


def soonest_of_all(entries: Sequence[Entry], slots: int) -> list[Entry]:
    """Choose samples so that the last one ends as early as can be, and among such choices the first ones early too.

    With `slots` a call, all is done in max(longest, total / slots) calls at best (McNaughton 1959). A sample that needs
    that many must run now; every other slot goes to whoever is nearest to its end.

    Args:
        entries: at least `slots`.
        slots: how many to choose.
    """
    total, longest = sum(entry.left for entry in entries), max(entry.left for entry in entries)
    calls = max(longest, -(-total // max(1, slots)))
    return sorted(entries, key=lambda entry: (entry.left < calls, entry.left, entry.index))[:slots]
