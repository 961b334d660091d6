"""What NVML tells of a GPU, told here by a stand-in for its module, as it finds its way into rows and page."""

import math
import os
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from respin_benchmarks.circumstances import FILE, read_circumstances, record_circumstances
from respin_benchmarks.gpu import MIB, open_gpu
from respin_benchmarks.in_process.machine import GpuMemory, Machine
from respin_benchmarks.in_process.server import Served


class NVMLError(Exception):
    pass


@pytest.fixture
def nvml(monkeypatch):
    module = ModuleType("pynvml")
    module.NVMLError = NVMLError
    module.held = {}
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetHandleByIndex = lambda index: index
    module.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(used=9000 * MIB, total=143000 * MIB)
    module.nvmlDeviceGetName = lambda handle: "NVIDIA H200"
    module.nvmlSystemGetDriverVersion = lambda: "580.1"
    module.nvmlDeviceGetEnforcedPowerLimit = lambda handle: 700000
    module.nvmlDeviceGetComputeRunningProcesses = lambda handle: [
        SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in module.held.items()
    ]
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


def refuse(*_):
    raise NVMLError("not supported")


def test_memory_is_told_in_all_and_of_each_process_that_nvml_knows(nvml):
    nvml.held = {11: 700 * MIB, 12: None}
    gpu = open_gpu()
    assert (gpu.used_mib(), gpu.by_process_mib()) == (9000, {11: 700})


def test_what_a_gpu_does_not_tell_is_left_out(nvml):
    nvml.nvmlDeviceGetComputeRunningProcesses = refuse
    nvml.nvmlDeviceGetEnforcedPowerLimit = refuse
    gpu = open_gpu()
    assert gpu.about() == {"name": "NVIDIA H200", "driver": "580.1", "memory_mib": 143000}
    assert gpu.used_mib() == 9000
    assert gpu.by_process_mib() == {}


def test_what_a_gpu_is_is_noted_with_a_benchmark(nvml, tmp_path):
    with record_circumstances("in process, cuda", [tmp_path / "jobs_cuda.csv"], anew=False):
        pass
    (run,) = read_circumstances(tmp_path / FILE)
    assert run["gpu"] == {"name": "NVIDIA H200", "driver": "580.1", "memory_mib": 143000, "power_limit_w": 700}


def test_without_a_driver_there_is_no_gpu(nvml):
    nvml.nvmlInit = refuse
    assert open_gpu() is None


@pytest.fixture
def parent():
    """A process with one child, as `respin serve` has its server."""
    with subprocess.Popen(["sh", "-c", "sleep 60; true"]) as process:
        deadline_s = time.monotonic() + 10
        while not psutil.Process(process.pid).children():
            assert time.monotonic() < deadline_s
        yield process
        for each in psutil.Process(process.pid).children():
            each.kill()


def test_a_servers_processes_are_found_among_those_of_the_gpu(nvml, parent):
    (child,) = psutil.Process(parent.pid).children()
    nvml.held = {child.pid: 300 * MIB, os.getpid(): 50 * MIB}
    memory, by_process = Served(parent.pid, 1.0, None, None, open_gpu(), GpuMemory(2000)).memory()
    assert (memory, by_process) == (GpuMemory(7000, 300), "sleep:300")


def test_where_nvml_reports_no_process_the_gpu_as_a_whole_is_told(nvml, parent):
    memory, by_process = Served(parent.pid, 1.0, None, None, open_gpu(), GpuMemory(2000)).memory()
    assert memory.whole == 7000
    assert math.isnan(memory.process)
    assert by_process == ""


def test_a_way_takes_what_has_come_since():
    assert GpuMemory(9000, 700.0) - GpuMemory(2000, 100.0) == GpuMemory(7000, 600.0)


def test_a_cpu_has_no_memory_of_a_gpu(nvml):
    assert Machine("cpu").memory().whole == 0
