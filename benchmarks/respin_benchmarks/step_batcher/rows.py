"""The rows of the results."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from respin.report.circumstances import commit_here, core_count, cpu_name, today, versions_text
from respin_benchmarks.circumstances import SERVER_PACKAGES


@dataclass(frozen=True, kw_only=True)
class BatcherRun:
    """The columns of every run."""

    repeat: int  # number of the run
    commit: str  # of the code that was measured
    date: str  # of the measurement
    cpu: str  # the processor
    cores: int  # of it
    versions: str  # of the packages that matter
    load: float  # the machine's load average of the last minute, before the run


def circumstances_now() -> dict[str, Any]:
    """Return the columns of `BatcherRun` but the repeat."""
    return {
        "commit": commit_here(),
        "date": today(),
        "cpu": cpu_name(),
        "cores": core_count(),
        "versions": versions_text(("python", *SERVER_PACKAGES)),
        "load": round(os.getloadavg()[0], 1),
    }


@dataclass(frozen=True, kw_only=True)
class SteppingRun(BatcherRun):
    """One measurement of one cell; times in ms, shares 0..1. "Ramped" is while all its requests were under way."""

    network: str  # "fixed" or "mini"
    unet: str  # its contract
    cost_ms: str  # of a call, whatever the batch; empty = the mini set's own
    way: str  # one of `WAYS`
    arrival: str  # "simultaneous" or "staggered"
    concurrency: int  # requests
    steps: int  # of each sample
    wall_s: float  # from the first sample's start to the last one's end
    ratio: float  # Triton's inferences per execution over the whole run
    ramped_ratio: float  # samples per call while ramped
    ramped_calls: int  # calls while ramped
    steps_per_s: float  # of all samples
    busy: float  # share of the wall time in which the UNet was called
    period_ms: float  # from one UNet call to the next, while ramped
    unet_ms: float  # of a call by the UNet's own clock, while ramped
    call_ms: float  # of a call as the driver sees it
    between_ms: float  # between two calls as the driver sees it: the step batcher's own metric
    latencies_ms: str  # of all requests


@dataclass(frozen=True, kw_only=True)
class ManyViewsRun(BatcherRun):
    """One photo, all its views."""

    way: str  # one of `VIEW_WAYS`
    caches: str  # "off" or "on"
    views: int  # of the photo
    wall_s: float  # from the first request to the last picture
    zero123_unet: int  # Triton's executions
    inpaint_unet: int  # the same of the other UNet
    zero123_unet_busy: float  # share of the wall time, 0..1
    inpaint_unet_busy: float  # the same of the other UNet
    other_calls: str  # executions of each other network, "sam_encoder=2 ..."

    @property
    def unet_calls(self) -> int:
        """Of both UNets."""
        return self.zero123_unet + self.inpaint_unet
