"""The rows of the results, and which of them a run that goes on still has to measure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from respin.report.circumstances import Circumstances

JobKey = tuple[str, int, int, int, int]
"""Sampler, steps, background steps, views, jobs."""


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


@dataclass(frozen=True, kw_only=True)
class JobRun(Circumstances):
    """One burst of whole jobs, from the photo's file to the answer's."""

    way: str  # "served" through gRPC, "engine" in this process, or "baseline"
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
    ready_s: float = math.nan  # from the start of server or engine until it was ready
    zero123_busy: float = math.nan  # share of the wall time in which the UNet was called
    inpaint_busy: float = math.nan  # the same of the other UNet
    # of the novel view against the baseline of the same precision and noise; NaN if it makes another picture
    psnr_view_db: float = math.nan
    psnr_background_db: float = math.nan  # the same of the background
    memory_mib: int = 0  # of the GPU with this way alone, warm; on a CPU of the server's processes; 0 = not known
    process_memory_mib: float = math.nan  # of that GPU memory, what NVML reports for the way's processes
    memory_by_process: str = ""  # "rotate_object_stream:9000 tritonserver:400"; empty = one process
    photo: str = ""  # its size
    weights: str  # which ones, in words
    note: str = ""  # why nothing was measured

    @property
    def key(self) -> JobKey:
        """What was asked for."""
        return self.sampler, self.steps, self.background_steps, self.views, self.jobs


Run = TypeVar("Run", JobRun, NetworkRun)


@dataclass(frozen=True)
class Subject:
    """What a run measures, and where: it goes on from rows of the same."""

    weights: str  # which ones, in words
    precision: str  # "fp32" or "fp16"
    circumstances: Circumstances  # machine, packages and commit; the date may differ

    def own(self, rows: Iterable[Run]) -> list[Run]:
        """Return the rows that this run would write."""
        return [row for row in rows if self._owns(row)]

    def kept(self, rows: Sequence[JobRun], way: str, runtime: str) -> list[JobRun]:
        """Return the rows that stay when a way is measured: no failure and none of other code, nor its baselines."""
        others = [row for row in rows if (row.way, row.runtime) != (way, runtime)]
        staying = others + [row for row in self.own(rows) if (row.way, row.runtime) == (way, runtime) and not row.note]
        pairs = {(row.commit, row.repeat) for row in staying if row.way == "engine"}
        return [row for row in staying if row.way != "baseline" or self._owns(row) or (row.commit, row.repeat) in pairs]

    def keys_left(
        self, rows: Iterable[JobRun], way: str, runtime: str, keys: Collection[JobKey], repeats: int
    ) -> list[list[JobKey]]:
        """Return what each further repeat has to measure, so that all have so many rows."""
        have = Counter(row.key for row in self.own(rows) if (row.way, row.runtime) == (way, runtime) and not row.note)
        turns = ([key for key in keys if have[key] + turn < repeats] for turn in range(repeats))
        return [turn for turn in turns if turn]

    def _owns(self, row: JobRun | NetworkRun) -> bool:
        here = self.circumstances
        wanted = (self.weights, self.precision, here.commit, here.machine, here.versions)
        return (row.weights, row.precision, row.commit, row.machine, row.versions) == wanted
