"""The first NVIDIA GPU of this machine, as NVML tells of it: memory in all and by process, energy."""

from __future__ import annotations

import importlib
import math
from contextlib import suppress
from typing import Any

MIB = 2**20


class Gpu:
    """A GPU to be asked; see `open_gpu`.

    Args:
        nvml: the module `pynvml`, ready.
        handle: the GPU's, of that module.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def used_mib(self) -> int:
        """Memory in use by whatever there is, MiB."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used // MIB)

    def by_process_mib(self) -> dict[int, int]:
        """Memory that each process holds, MiB by its number.

        Empty where NVML does not tell. In a container it may tell the host's numbers, which are nobody's there.
        """
        with suppress(self._nvml.NVMLError):
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
            return {each.pid: each.usedGpuMemory // MIB for each in processes if each.usedGpuMemory is not None}
        return {}

    def about(self) -> dict[str, str | float]:
        """Name, driver, memory in MiB, power limit in W: of these, what NVML tells."""
        found: dict[str, str | float] = {}
        with suppress(self._nvml.NVMLError):
            found["name"] = _text(self._nvml.nvmlDeviceGetName(self._handle))
            found["driver"] = _text(self._nvml.nvmlSystemGetDriverVersion())
            found["memory_mib"] = self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total // MIB
            found["power_limit_w"] = self._nvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1e3
        return found

    def clocks_mhz(self) -> dict[str, int]:
        """Of the processors and of the memory, at this moment, where NVML tells."""
        found: dict[str, int] = {}
        with suppress(self._nvml.NVMLError):
            found["sm"] = self._nvml.nvmlDeviceGetClockInfo(self._handle, self._nvml.NVML_CLOCK_SM)
            found["memory"] = self._nvml.nvmlDeviceGetClockInfo(self._handle, self._nvml.NVML_CLOCK_MEM)
        return found

    def joules(self) -> float:
        """What the GPU has used since its driver was loaded; NaN where it does not count."""
        with suppress(self._nvml.NVMLError):
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        return math.nan


def _text(answer: str | bytes) -> str:
    """Older versions of the module answer in bytes."""
    return answer.decode() if isinstance(answer, bytes) else answer


def open_gpu() -> Gpu | None:
    """The first GPU; None where there is none, or no nvidia-ml-py."""
    try:
        pynvml: Any = importlib.import_module("pynvml")  # of nvidia-ml-py, on a GPU machine alone
        pynvml.nvmlInit()
        return Gpu(pynvml, pynvml.nvmlDeviceGetHandleByIndex(0))
    except Exception:  # no module, no driver, no device: all the same to who asks
        return None
