"""Build one engine plan, with either flavour of TensorRT, in a process of its own.

TensorRT keeps a pointer to the first logger for the life of the process, and its memory grows with each network; its
leaks end with the process, and a crash affects one engine plan only.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from respin.errors import InternalError, InvalidInput
from respin_export.errors import BuildFailed
from respin_export.isolated import TaskDone, TaskFailed, run_isolated
from respin_export.optimization_profile import InputShape
from respin_export.tensorrt.flavours import CURRENT, Library

ReportPhase = Callable[[str, int, int], None]
"""Callback with the phase, its steps done, and all its steps."""

SCRATCH = re.compile(r"Total Activation Memory: (\d+) bytes")
"""Line of TensorRT's log with an engine's scratch memory at its greatest shapes; there is no other source."""

ERRORS_SAID = 3
"""Number of TensorRT's errors in a message; later errors follow from the first."""


@dataclass(frozen=True)
class EngineOptions:
    """Options of the build.

    Args:
        library: the TensorRT to build with.
        capabilities: compute capabilities, from `respin_export.tensorrt.flavours.target_capabilities`.
        timing_cache: file of measured kernel times; None = measure all. TensorRT-RTX has none.
        workspace_bytes: limit of scratch GPU memory for a layer; None = no limit.
        rebuild: replace engine plans that are stale or damaged; else they are an error.
    """

    library: Library
    capabilities: tuple[str, ...] = ()
    timing_cache: Path | None = None
    workspace_bytes: int | None = None
    rebuild: bool = False

    def __post_init__(self) -> None:
        """Check that the timing cache is used."""
        if self.timing_cache is not None and self.library.flavour == "tensorrt_rtx":
            raise InvalidInput("tensorrt_rtx times no kernels before a plan is loaded; leave out the timing cache")


@dataclass(frozen=True)
class EngineTask:
    """One build.

    Args:
        network: name of the network, for messages.
        graph: the ONNX file, beside its external weights.
        profile: least, usual and greatest shape of every input.
        engine: file to write.
        options: options of the build.
    """

    network: str
    graph: Path
    profile: Mapping[str, tuple[InputShape, InputShape, InputShape]]
    engine: Path
    options: EngineOptions


@dataclass(frozen=True)
class BuildCost:
    """Time and memory that building an engine plan took.

    Args:
        build_s: seconds from parsing to the written file, without loading the library.
        peak_rss_bytes: peak memory of the process.
        scratch_bytes: GPU memory beside the weights, as `build_engine` returns it.
    """

    build_s: float
    peak_rss_bytes: int
    scratch_bytes: int | None


def build_in_own_process(task: EngineTask, report: ReportPhase) -> BuildCost:
    """Build an engine plan in a fresh process and wait for it.

    Args:
        task: inputs and options of the build.
        report: called with the progress, in this process.

    Raises:
        BuildFailed: TensorRT refuses the graph.
        ProcessKilled: a signal ended the process.
        InternalError: the process ended by a bug of ours; its traceback went to stderr.
    """
    with closing(run_isolated({task.network: partial(_build, task)}, jobs=1)) as events:
        for event in events:
            if isinstance(event, TaskFailed):
                raise event.error
            if isinstance(event, TaskDone):
                build_s, scratch_bytes = event.result
                return BuildCost(build_s, event.peak_rss_mib * 2**20, scratch_bytes)
            report(*event.stage)
    raise InternalError(f"{task.network}: its process reported no result")


def _build(task: EngineTask, on_progress: Callable[[tuple[str, int, int]], None]) -> tuple[float, int | None]:
    trt = importlib.import_module(task.options.library.flavour)
    begin = time.perf_counter()
    scratch_bytes = build_engine(trt, task, lambda *progress: on_progress(progress))
    return round(time.perf_counter() - begin, 2), scratch_bytes


def build_engine(trt: Any, task: EngineTask, report: ReportPhase) -> int | None:
    """Parse a graph, build its engine plan strongly typed (precision is the graph's own), and write it.

    Args:
        trt: module of the task's flavour.
        task: inputs and options.
        report: called with the progress.

    Returns:
        Bytes of GPU memory of one execution context beside the weights, at the greatest shapes of the profile; None if
        TensorRT does not report it.

    Raises:
        BuildFailed: TensorRT refuses the graph.
        InvalidInput: the timing cache is of another TensorRT or GPU.
    """
    logger, options = _logger(trt), task.options
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(task.graph)):
        raise BuildFailed(_parser_refusal(task, [parser.get_error(index) for index in range(parser.num_errors)]))
    config = builder.create_builder_config()
    config.progress_monitor = _progress_monitor(trt, report)
    config.add_optimization_profile(_profile(builder, network, task))
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.library.flavour == "tensorrt_rtx":
        _set_capabilities(trt, config, options.capabilities)
    if options.timing_cache is not None:
        _read_timing_cache(config, options.timing_cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BuildFailed(_builder_refusal(task, logger.complaints))
    task.engine.write_bytes(engine)
    if options.timing_cache is not None:
        _write_timing_cache(config, options.timing_cache)
    scratch_bytes: int | None = logger.scratch_bytes
    return scratch_bytes


def _parser_refusal(task: EngineTask, errors: Sequence[Any]) -> str:
    complaints = [f"node '{error.node_name()}' ({error.node_operator()}): {error.desc()}" for error in errors]
    return f"{task.network}: TensorRT cannot parse {task.graph.name}: {_first(complaints)}; export the network again"


def _builder_refusal(task: EngineTask, complaints: Sequence[str]) -> str:
    limit = task.options.workspace_bytes
    # A network compiled as one layer has no alternative if its scratch memory exceeds the limit.
    hint = (
        ""
        if limit is None
        else f"; its workspace was limited to {limit // 2**20} MiB: where memory ran out, allow more"
    )
    return f"{task.network}: TensorRT cannot build the plan: {_first(complaints)}{hint}"


def _first(complaints: Sequence[str]) -> str:
    """Join the first errors in one line."""
    said = "; ".join(" ".join(complaint.split()) for complaint in complaints[:ERRORS_SAID])
    more = len(complaints) - ERRORS_SAID
    return f"{said}; and {more} more" if more > 0 else said or "it does not say why"


def _profile(builder: Any, network: Any, task: EngineTask) -> Any:
    names = [network.get_input(index).name for index in range(network.num_inputs)]
    if sorted(names) != sorted(task.profile):
        raise BuildFailed(
            f"{task.network}: the graph's inputs are {sorted(names)}, the contract's {sorted(task.profile)}; "
            "export the network again"
        )
    profile = builder.create_optimization_profile()
    for name, (least, usual, greatest) in task.profile.items():
        profile.set_shape(name, least, usual, greatest)
    return profile


def _set_capabilities(trt: Any, config: Any, capabilities: Sequence[str]) -> None:
    # The default of TensorRT-RTX is every GPU from 8.0 on.
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        name = "CURRENT" if capability.startswith(CURRENT) else f"SM{capability.replace('.', '')}"
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)


def _read_timing_cache(config: Any, file: Path) -> None:
    cache = config.create_timing_cache(file.read_bytes() if file.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        raise InvalidInput(
            f"the timing cache '{file}' was measured by another TensorRT or on another GPU; "
            "name a file that does not exist yet"
        )


def _write_timing_cache(config: Any, file: Path) -> None:
    draft = file.with_name(f"{file.name}.draft")
    draft.write_bytes(config.get_timing_cache().serialize())
    draft.replace(file)


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]  # TensorRT has no types
        """A logger that collects TensorRT's errors and the scratch memory of the engine plan."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.complaints: list[str] = []
            self.scratch_bytes: int | None = None

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.complaints.append(message)
            elif said := SCRATCH.fullmatch(message.strip()):
                self.scratch_bytes = int(said[1])

    return Logger()


def _progress_monitor(trt: Any, report: ReportPhase) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # TensorRT has no types
        """A progress monitor that reports the steps of every phase; phases are nested."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            report(phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            report(phase, step + 1, self.steps[phase])
            return True  # go on

        def phase_finish(self, phase: str) -> None:
            del self.steps[phase]

    return Monitor()
