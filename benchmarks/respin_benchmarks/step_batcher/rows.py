"""The rows of the results, and what they compare: ways of driving a UNet, and ways of asking for many views."""

from __future__ import annotations

from dataclasses import dataclass

from respin_benchmarks.circumstances import RepeatRun

STAGGER_S = 0.053
"""Time between two arrivals, seconds: no multiple of a step, so that loops meet at no particular phase."""

ARRIVALS = {"simultaneous": 0.0, "staggered": STAGGER_S}
CONCURRENCY = (1, 2, 4, 8, 16)
COST_MS = 10.0
"""Duration of a call of either UNet, whatever the batch."""

BATCHER, LOOPS = "step batcher", "loops"
WAYS = (BATCHER, LOOPS)

TOGETHER, ONE_BY_ONE, AT_ONCE = "one request", "single requests, one after another", "single requests, all at once"
VIEW_WAYS = (TOGETHER, ONE_BY_ONE, AT_ONCE)


@dataclass(frozen=True, kw_only=True)
class SteppingRun(RepeatRun):
    """One measurement of one cell; times in ms. "Ramped" is while all its requests were under way."""

    unet: str  # its name
    way: str  # one of `WAYS`
    arrival: str  # "simultaneous" or "staggered"
    concurrency: int  # requests
    steps: int  # of each sample
    wall_s: float  # from the first sample's start to the last one's end
    ramped_ratio: float  # samples per call while ramped
    steps_per_s: float  # of all samples
    period_ms: float  # from one UNet call to the next, while ramped
    unet_ms: float  # of a call by the UNet's own clock, while ramped
    latencies_ms: str  # of all requests


@dataclass(frozen=True, kw_only=True)
class ManyViewsRun(RepeatRun):
    """One photo, all its views."""

    way: str  # one of `VIEW_WAYS`
    views: int  # of the photo
    wall_s: float  # from the first request to the last picture
    unet_calls: int  # of both UNets
