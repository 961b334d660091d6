"""The rows of the results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkRun:
    """One network by itself.

    Args:
        network: its name.
        runtime: what ran it.
        precision: "fp32" or "fp16".
        batch: samples a call.
        shapes: of its inputs, without the batch.
        calls: that were timed.
        call_ms: from arrays to arrays, median.
        call_p95_ms: 95th percentile.
        device_ms: on the device alone, median; NaN where it cannot be told apart.
        gflop: of a call, counted (2 x multiply-add).
        least_mib: weights, inputs and outputs, each moved once.
        floor_ms: least time on this machine.
        errors: against the float32 module, "noise 1.1e-03; ...".
        note: what was not as it should be.
        weights: which ones.
        commit: of the code that was measured.
        date: of the measurement; then the machine, its ceilings, and the versions.
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
    commit: str
    date: str
    machine: str
    matmul_tflops: float
    copy_gb_s: float
    versions: str

    @property
    def best_ms(self) -> float:
        """On the device alone where that is known, else the whole call."""
        return self.call_ms if self.device_ms != self.device_ms else self.device_ms

    @property
    def floor_share(self) -> float:
        """Of the limit that is reached, 0..1."""
        return self.floor_ms / self.best_ms


@dataclass(frozen=True)
class JobRun:
    """One burst of whole jobs, from the photo's file to the answer's.

    Args:
        way: "baseline", "cold baseline" (a process of its own, its start and its loading among it), or "engine".
        runtime: of the networks.
        precision: "fp32" or "fp16".
        sampler: of both UNets.
        steps: of Zero123.
        background_steps: of the inpainting.
        views: a job.
        jobs: at the same time.
        repeat: number of the run.
        wall_s: of the burst.
        latency_s: of a job, median.
        images_s: views a second.
        zero123_busy: share of the wall time in which the UNet was called.
        inpaint_busy: the same of the other.
        psnr_view_db: of the novel view against the baseline of the same precision, same noise; NaN where there is none.
        psnr_background_db: the same of the background.
        memory_mib: of the GPU in use with this way alone, warm; on a CPU, of the cold baseline alone, the most that its
            process held; else 0: what shares a process with other ways cannot be told apart.
        process_memory_mib: of that GPU memory, what NVML says this process holds; NaN where it does not.
        joules: an image; NaN where nothing tells.
        photo: its size.
        weights: which ones.
        commit: of the code that was measured.
        date: of the measurement; then the machine and the versions.
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
    zero123_busy: float
    inpaint_busy: float
    psnr_view_db: float
    psnr_background_db: float
    memory_mib: int
    process_memory_mib: float
    joules: float
    photo: str
    weights: str
    commit: str
    date: str
    machine: str
    versions: str


@dataclass(frozen=True)
class Interval:
    """A stretch of one job: a stage, or a call of a UNet.

    Args:
        name: of the stage or the UNet.
        began_s: since the job began.
        ended_s: since the job began.
    """

    name: str
    began_s: float
    ended_s: float
