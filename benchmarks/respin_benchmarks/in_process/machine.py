"""The processor that is measured: its name, its memory, its energy, and how fast it can be at best."""

from __future__ import annotations

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
GPU_PACKAGES = ("tensorrt", "tensorrt-rtx-cu13")
TRIALS = 20


@dataclass(frozen=True)
class Ceilings:
    """What a processor reached at the two things that bound a network.

    Args:
        matmul_tflops: of a large matrix product, in the networks' precision, on random numbers.
        copy_gb_s: of a large copy, bytes read and bytes written both counted.
    """

    matmul_tflops: float
    copy_gb_s: float

    def floor_ms(self, flop: float, moved_bytes: float) -> float:
        """The least time that so much arithmetic on so many bytes takes, ms."""
        return max(flop / (self.matmul_tflops * 1e9), moved_bytes / (self.copy_gb_s * 1e6))


@dataclass(frozen=True)
class Memory:
    """GPU memory in use, MiB.

    Args:
        whole: of the whole GPU where NVML tells, else PyTorch's share; 0 on a CPU.
        process: of this process, its CUDA context among it; NaN where nothing tells.
    """

    whole: int
    process: float

    def __sub__(self, other: Memory) -> Memory:
        """What has come since."""
        return Memory(self.whole - other.whole, self.process - other.process)

    def __str__(self) -> str:
        """In words."""
        return f"{self.whole} MiB" + ("" if math.isnan(self.process) else f", of this process {self.process:.0f}")


NO_MEMORY = Memory(0, math.nan)
"""Of a GPU that is not there."""


class Machine:
    """A CPU or a GPU as a benchmark sees it.

    Args:
        kind: "cpu" or "cuda".

    Raises:
        InvalidInput: there is no such device.
    """

    def __init__(self, kind: str) -> None:
        if kind == "cuda" and not torch.cuda.is_available():
            raise InvalidInput("device 'cuda' is asked for and there is no NVIDIA GPU to be seen; use --device cpu")
        self.kind = kind
        here = Circumstances.now(
            PACKAGES + GPU_PACKAGES if kind == "cuda" else PACKAGES,
            torch.cuda.get_device_name() if kind == "cuda" else "",
        )
        self.name, self.date, self.versions, self.commit = here.machine, here.date, here.versions, here.commit
        # As anybody does whose shapes come again; for the baseline as well.
        torch.backends.cudnn.benchmark = kind == "cuda"
        self._gpu = open_gpu() if kind == "cuda" else None

    def memory(self) -> Memory:
        """What is in use now. In a process that holds several ways at once, nothing tells whose its memory is."""
        if self.kind == "cpu":
            return NO_MEMORY
        if self._gpu is None:
            return Memory(torch.cuda.memory_reserved() // MIB, math.nan)
        return Memory(self._gpu.used_mib(), self._gpu.by_process_mib().get(os.getpid(), math.nan))

    def parts(self) -> str:
        """What PyTorch knows of the GPU's memory, in words; "" on a CPU."""
        if self.kind == "cpu":
            return ""
        held, reserved = torch.cuda.memory_allocated() // MIB, torch.cuda.memory_reserved() // MIB
        return f", of which PyTorch's {reserved}, tensors and graphs {held}"

    def joules(self) -> float:
        """The GPU's energy counter; NaN where there is none."""
        return self._gpu.joules() if self._gpu else math.nan

    def ceilings(self, dtype: torch.dtype) -> Ceilings:
        """Measure both, now."""
        side, length = (8192, 2**30) if self.kind == "cuda" else (1024, 2**26)
        one, other = (torch.randn(side, side, device=self.kind, dtype=dtype) for _ in range(2))
        source = torch.zeros(length, dtype=torch.uint8, device=self.kind)
        target = torch.empty_like(source)
        matmul_s = self._median_s(lambda: torch.matmul(one, other))
        copy_s = self._median_s(lambda: target.copy_(source))
        return Ceilings(round(2 * side**3 / matmul_s / 1e12, 3), round(2 * length / copy_s / 1e9, 1))

    def _median_s(self, work: Callable[[], object]) -> float:
        times = []
        for trial in range(TRIALS + 3):
            began_s = time.perf_counter()
            work()
            if self.kind == "cuda":
                torch.cuda.synchronize()
            if trial >= 3:
                times.append(time.perf_counter() - began_s)
        return statistics.median(times)
