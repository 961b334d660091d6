"""The rows of the results."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from respin.report.circumstances import commit_here, core_count, cpu_name, today, versions_text
from respin_benchmarks.circumstances import SERVER_PACKAGES


@dataclass(frozen=True, kw_only=True)
class BatcherRun:
    """The columns of every run.

    Args:
        repeat: number of the run.
        commit: of the code that was measured.
        date: of the measurement.
        cpu: the processor.
        cores: of it.
        versions: of the packages that matter.
        load: the machine's load average of the last minute, before the run.
    """

    repeat: int
    commit: str
    date: str
    cpu: str
    cores: int
    versions: str
    load: float


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
    """One measurement of one cell; times in ms, shares 0..1. "Ramped" is while all its requests were under way.

    Args:
        network: "fixed" or "mini".
        unet: its contract.
        cost_ms: of a call, whatever the batch; empty = the mini set's own.
        way: one of `WAYS`.
        arrival: "simultaneous" or "staggered".
        concurrency: requests.
        steps: of each sample.
        wall_s: from the first sample's start to the last one's end.
        ratio: Triton's inferences per execution over the whole run.
        ramped_ratio: samples per call while ramped.
        ramped_calls: calls while ramped.
        steps_per_s: of all samples.
        busy: share of the wall time in which the UNet was called.
        period_ms: from one UNet call to the next, while ramped.
        unet_ms: of a call by the UNet's own clock, while ramped.
        call_ms: of a call as the driver sees it.
        between_ms: between two calls as the driver sees it: the step batcher's own metric.
        latencies_ms: of all requests.
    """

    network: str
    unet: str
    cost_ms: str
    way: str
    arrival: str
    concurrency: int
    steps: int
    wall_s: float
    ratio: float
    ramped_ratio: float
    ramped_calls: int
    steps_per_s: float
    busy: float
    period_ms: float
    unet_ms: float
    call_ms: float
    between_ms: float
    latencies_ms: str


@dataclass(frozen=True, kw_only=True)
class ManyViewsRun(BatcherRun):
    """One photo, all its views.

    Args:
        way: one of `VIEW_WAYS`.
        caches: "off" or "on".
        views: of the photo.
        wall_s: from the first request to the last picture.
        zero123_unet: Triton's executions.
        inpaint_unet: the same of the other UNet.
        zero123_unet_busy: share of the wall time, 0..1.
        inpaint_unet_busy: the same of the other UNet.
        other_calls: executions of each other network, "sam_encoder=2 ...".
    """

    way: str
    caches: str
    views: int
    wall_s: float
    zero123_unet: int
    inpaint_unet: int
    zero123_unet_busy: float
    inpaint_unet_busy: float
    other_calls: str

    @property
    def unet_calls(self) -> int:
        """Of both UNets."""
        return self.zero123_unet + self.inpaint_unet
