"""A TensorRT that parses anything: for what NVIDIA's container does and no test machine can."""

from __future__ import annotations

from enum import IntEnum
from types import SimpleNamespace

KERNEL_TIMES = b"measured"
"""The timing cache that this TensorRT writes."""


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class Config:
    def __init__(self):
        self.progress_monitor = None
        self.limits, self.targets, self.cache_read = {}, {}, None

    def add_optimization_profile(self, profile):
        self.profile = profile

    def set_memory_pool_limit(self, pool, size):
        self.limits[pool] = size

    def set_compute_capability(self, target, index):
        self.targets[index] = target

    def create_timing_cache(self, content):
        self.cache_read = content
        return content

    def set_timing_cache(self, cache, ignore_mismatch):
        return cache in (b"", KERNEL_TIMES) or ignore_mismatch

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: KERNEL_TIMES)


class FakeTensorRT:
    """Has of TensorRT's module what building an engine needs.

    Args:
        inputs: names of every graph's inputs.
        complaint: logged instead of building, if any.
        remark: logged as it builds.
    """

    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    ComputeCapability = SimpleNamespace(SM86="sm86", SM89="sm89", SM120="sm120", CURRENT="this GPU")
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    IProgressMonitor = type("IProgressMonitor", (), {})
    ILogger = type("ILogger", (), {"Severity": Severity})

    def __init__(self, inputs=("image",), complaint=None, remark="the weather"):
        self.inputs, self.complaint, self.remark = inputs, complaint, remark
        self.config, self.shapes, self.flags = Config(), {}, None

    def Builder(self, logger):
        self.logger = logger
        return SimpleNamespace(
            create_network=self._create_network,
            create_builder_config=lambda: self.config,
            create_optimization_profile=lambda: SimpleNamespace(set_shape=self._set_shape),
            build_serialized_network=self._build,
        )

    def OnnxParser(self, network, logger):
        return SimpleNamespace(parse_from_file=lambda path: True)

    def _create_network(self, flags):
        self.flags = flags
        return SimpleNamespace(
            num_inputs=len(self.inputs), get_input=lambda index: SimpleNamespace(name=self.inputs[index])
        )

    def _set_shape(self, name, *shapes):
        self.shapes[name] = shapes

    def _build(self, network, config):
        config.progress_monitor.phase_start("building", None, 2)
        for step in range(2):
            assert config.progress_monitor.step_complete("building", step)
        config.progress_monitor.phase_finish("building")
        if self.complaint:
            self.logger.log(Severity.WARNING, self.remark)
            self.logger.log(Severity.ERROR, self.complaint)
            return None
        self.logger.log(Severity.INFO, self.remark)
        return b"engine"
