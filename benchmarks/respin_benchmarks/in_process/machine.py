"""The processor that is measured: its name, its memory, its energy, and how fast it can be at best."""

from __future__ import annotations

import gc
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from respin.errors import InvalidInput
from respin.report.circumstances import Circumstances
from respin_benchmarks.gpu import MIB, open_gpu

PACKAGES = ("torch", "diffusers", "transformers", "onnxruntime", "onnxruntime-gpu", "numpy")
TRIALS, WARM_UPS = 20, 3


@dataclass(frozen=True)
class Ceilings:
    """What a processor reaches at the two things that bound a network."""

    matmul_tflops: float  # of a large matrix product, in the networks' precision, on random numbers
    copy_gb_s: float  # of a large copy, bytes read and bytes written both counted

    def floor_ms(self, flop: float, moved_bytes: float) -> float:
        """Return the least time that so much arithmetic on so many bytes takes, ms."""
        return max(flop / (self.matmul_tflops * 1e9), moved_bytes / (self.copy_gb_s * 1e6))


@dataclass(frozen=True)
class GpuMemory:
    """Memory in use, MiB."""

    whole: int = 0  # of the whole GPU if NVML reports it, else PyTorch's share; 0 on a CPU
    process: float = math.nan  # of the processes that are measured, with CUDA's contexts; NaN if it is not known

    def __sub__(self, other: GpuMemory) -> GpuMemory:
        """Return what was added since."""
        return GpuMemory(self.whole - other.whole, self.process - other.process)

    def columns(self) -> dict[str, float]:
        """Return the columns of `JobRun`."""
        return {"memory_mib": self.whole, "process_memory_mib": self.process}


class Machine:
    """A CPU or a GPU that is measured.

    Args:
        kind: "cpu" or "cuda".

    Raises:
        InvalidInput: there is no such device.
    """

    def __init__(self, kind: str) -> None:
        if kind == "cuda" and not torch.cuda.is_available():
            raise InvalidInput("device is 'cuda' and PyTorch sees no NVIDIA GPU here; use --device cpu")
        self.kind, self.precision = kind, "fp16" if kind == "cuda" else "fp32"
        gpu = torch.cuda.get_device_name() if kind == "cuda" else ""
        self.circumstances = Circumstances.now(PACKAGES + ("tensorrt", "tensorrt-rtx-cu13") * bool(gpu), gpu)
        # Shapes repeat, as in a server; for the baseline as well.
        torch.backends.cudnn.benchmark = kind == "cuda"
        self._gpu = open_gpu() if kind == "cuda" else None
        torch.zeros(1, device=kind)  # creates CUDA's context, which is part of whatever runs
        self._idle = self.memory()

    def memory(self) -> GpuMemory:
        """Return what is in use now, by all that this process holds."""
        if self.kind == "cpu":
            return GpuMemory()
        if self._gpu is None:
            return GpuMemory(torch.cuda.memory_reserved() // MIB)
        return GpuMemory(self._gpu.used_mib(), self._gpu.by_process_mib().get(os.getpid(), math.nan))

    def memory_since(self, before: GpuMemory) -> GpuMemory:
        """Return what is in use now and was not before, with this process's CUDA context."""
        return self.memory() - (before - self._idle)

    def release_memory(self) -> None:
        """Give back what is no longer used, so that the next reading is of what is."""
        gc.collect()
        if self.kind == "cuda":
            torch.cuda.empty_cache()

    def measure_ceilings(self) -> Ceilings:
        """Measure both ceilings."""
        dtype = torch.float16 if self.precision == "fp16" else torch.float32
        side, length = (8192, 2**30) if self.kind == "cuda" else (1024, 2**26)
        one, other = (torch.randn(side, side, device=self.kind, dtype=dtype) for _ in range(2))
        source = torch.zeros(length, dtype=torch.uint8, device=self.kind)
        target = torch.empty_like(source)
        matmul_s = self._median_s(lambda: torch.matmul(one, other))
        copy_s = self._median_s(lambda: target.copy_(source))
        return Ceilings(round(2 * side**3 / matmul_s / 1e12, 3), round(2 * length / copy_s / 1e9, 1))

    def _median_s(self, work: Callable[[], object]) -> float:
        times = []
        for _ in range(WARM_UPS + TRIALS):
            began_s = time.perf_counter()
            work()
            if self.kind == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began_s)
        return statistics.median(times[WARM_UPS:])
