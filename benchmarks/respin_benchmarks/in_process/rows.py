"""The rows of the results."""

from __future__ import annotations

import math
from dataclasses import dataclass

from respin.report.circumstances import Circumstances


@dataclass(frozen=True, kw_only=True)
class NetworkRun(Circumstances):
    """One network by itself.

    Args:
        network: its name.
        runtime: what ran it.
        precision: "fp32" or "fp16".
        batch: samples per call.
        shapes: of its inputs, without the batch.
        calls: that were timed.
        call_ms: from arrays to arrays, median.
        call_p95_ms: 95th percentile.
        device_ms: on the device alone, median; NaN where it is not known.
        gflop: of a call, counted (2 x multiply-add).
        least_mib: weights, inputs and outputs, each moved once.
        floor_ms: least time on this machine.
        errors: against the float32 module, "noise 1.1e-03; ...".
        note: what was not as it should be.
        weights: which ones, in words.
        matmul_tflops: ceiling of the machine, see `Ceilings`.
        copy_gb_s: ceiling of the machine.
    """

    network: str
    runtime: str
    precision: str
    batch: int
    shapes: str
    calls: int
    call_ms: float
    call_p95_ms: float
    device_ms: float
    gflop: float
    least_mib: float
    floor_ms: float
    errors: str
    note: str
    weights: str
    matmul_tflops: float
    copy_gb_s: float

    @property
    def best_ms(self) -> float:
        """Time on the device alone if it is known, else of the whole call."""
        return self.call_ms if math.isnan(self.device_ms) else self.device_ms

    @property
    def floor_share(self) -> float:
        """Share of the limit that is reached, 0..1."""
        return self.floor_ms / self.best_ms


JobKey = tuple[str, int, int, int, int]
"""Sampler, steps, background steps, views, jobs."""


@dataclass(frozen=True, kw_only=True)
class JobRun(Circumstances):
    """One burst of whole jobs, from the photo's file to the answer's.

    Args:
        way: "baseline", "cold baseline" (a process of its own, with its start and its loading), or "engine".
        runtime: of the networks.
        precision: "fp32" or "fp16".
        sampler: of both UNets.
        steps: of the novel view.
        background_steps: of the background.
        views: per job.
        jobs: at the same time.
        repeat: number of the run.
        wall_s: of the burst.
        latency_s: of a job, median.
        images_s: views per second.
        zero123_busy: share of the wall time in which the UNet was called.
        inpaint_busy: the same of the other UNet.
        psnr_view_db: of the novel view against the baseline of the same precision and noise; NaN if there is none.
        psnr_background_db: the same of the background.
        memory_mib: of the GPU in use with this way alone, warm; on a CPU the peak of the cold baseline's process, else
            0: ways that share a process cannot be told apart.
        process_memory_mib: of that GPU memory, what NVML reports for this process; NaN if it does not.
        joules: per image; NaN where it is not known.
        photo: its size.
        weights: which ones, in words.
    """

    way: str
    runtime: str
    precision: str
    sampler: str
    steps: int
    background_steps: int
    views: int
    jobs: int
    repeat: int
    wall_s: float
    latency_s: float
    images_s: float
    zero123_busy: float = math.nan
    inpaint_busy: float = math.nan
    psnr_view_db: float = math.nan
    psnr_background_db: float = math.nan
    memory_mib: int
    process_memory_mib: float
    joules: float = math.nan
    photo: str
    weights: str

    @property
    def key(self) -> JobKey:
        """What was asked for."""
        return self.sampler, self.steps, self.background_steps, self.views, self.jobs


@dataclass(frozen=True)
class Interval:
    """A stretch of one job: a stage, or a call of a network.

    Args:
        name: of the stage or the network.
        began_s: since the job began.
        ended_s: since the job began.
    """

    name: str
    began_s: float
    ended_s: float
