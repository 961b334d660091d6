"""The first NVIDIA GPU of this machine, as NVML reports it: memory in all and by process."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Any

MIB = 2**20


class Gpu:
    """A GPU and its counters; see `open_gpu`.

    Args:
        nvml: the module `pynvml`, ready.
        handle: handle of the GPU in that module.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def used_mib(self) -> int:
        """Return the memory in use by all processes, MiB."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used // MIB)

    def by_process_mib(self) -> dict[int, int]:
        """Return the memory of each process, MiB by process number.

        Empty if NVML does not report it. In a container NVML may report the host's numbers, which no process has there.
        """
        with suppress(self._nvml.NVMLError):
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
            return {each.pid: each.usedGpuMemory // MIB for each in processes if each.usedGpuMemory is not None}
        return {}

    def about(self) -> dict[str, str | float]:
        """Return name, driver, memory in MiB and power limit in W, as far as NVML reports them."""
        found: dict[str, str | float] = {}
        with suppress(self._nvml.NVMLError):
            found["name"] = str(self._nvml.nvmlDeviceGetName(self._handle))
            found["driver"] = str(self._nvml.nvmlSystemGetDriverVersion())
            found["memory_mib"] = self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total // MIB
            found["power_limit_w"] = self._nvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1e3
        return found


def open_gpu() -> Gpu | None:
    """Return the first GPU; None if there is none, or no nvidia-ml-py."""
    try:
        pynvml: Any = importlib.import_module("pynvml")  # of nvidia-ml-py, on a GPU machine alone
        pynvml.nvmlInit()
        return Gpu(pynvml, pynvml.nvmlDeviceGetHandleByIndex(0))
    except Exception:  # no module, no driver or no device: in each case there is no GPU to read
        return None
