"""The rows of the results."""

from __future__ import annotations

import math
from dataclasses import dataclass

from respin.report.circumstances import Circumstances


@dataclass(frozen=True, kw_only=True)
class NetworkRun(Circumstances):
    """One network by itself."""

    network: str  # its name
    runtime: str  # what ran it
    precision: str  # "fp32" or "fp16"
    batch: int  # samples per call
    shapes: str  # of its inputs, without the batch
    calls: int  # that were timed
    call_ms: float  # from arrays to arrays, median
    call_p95_ms: float  # 95th percentile
    device_ms: float  # on the device alone, median; NaN where it is not known
    gflop: float  # of a call, counted (2 x multiply-add)
    least_mib: float  # weights, inputs and outputs, each moved once
    floor_ms: float  # least time on this machine
    errors: str  # against the float32 module, "noise 1.1e-03; ..."
    note: str  # what was not as it should be
    weights: str  # which ones, in words
    matmul_tflops: float  # ceiling of the machine, see `Ceilings`
    copy_gb_s: float  # ceiling of the machine

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
    """One burst of whole jobs, from the photo's file to the answer's."""

    way: str  # "baseline", "cold baseline" (a process of its own, with its start and its loading), or "engine"
    runtime: str  # of the networks
    precision: str  # "fp32" or "fp16"
    sampler: str  # of both UNets
    steps: int  # of the novel view
    background_steps: int  # of the background
    views: int  # per job
    jobs: int  # at the same time
    repeat: int  # number of the run
    wall_s: float  # of the burst
    latency_s: float  # of a job, median
    images_s: float  # views per second
    zero123_busy: float = math.nan  # share of the wall time in which the UNet was called
    inpaint_busy: float = math.nan  # the same of the other UNet
    # of the novel view against the baseline of the same precision and noise; NaN if there is none
    psnr_view_db: float = math.nan
    psnr_background_db: float = math.nan  # the same of the background
    # of the GPU in use with this way alone, warm; on a CPU the peak of the cold baseline's process, else 0: ways that
    # share a process cannot be told apart
    memory_mib: int
    process_memory_mib: float  # of that GPU memory, what NVML reports for this process; NaN if it does not
    joules: float = math.nan  # per image; NaN where it is not known
    photo: str  # its size
    weights: str  # which ones, in words

    @property
    def key(self) -> JobKey:
        """What was asked for."""
        return self.sampler, self.steps, self.background_steps, self.views, self.jobs


@dataclass(frozen=True)
class Interval:
    """A stretch of one job: a stage, or a call of a network."""

    name: str  # of the stage or the network
    began_s: float  # since the job began
    ended_s: float  # since the job began
