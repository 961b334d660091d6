"""What the processor does between two calls of a UNet in the engine's process: a network that answers zeros at once.

What is left is the sampler, the queue, the stacking of inputs and the handing out of results. Every step of a job pays
it while the GPU waits. Processor time, of all threads, is what the verdict is about: other programs on the machine do
not count in it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.model_set import Sizes
from respin.report.circumstances import Circumstances
from respin.report.markdown import table
from respin.report.rows import read_rows
from respin.report.statistics import ranged_text
from respin.specs import Array, ModelSpec
from respin_benchmarks.circumstances import recorded
from respin_benchmarks.in_process.example_inputs import usual_inputs
from respin_benchmarks.options import HostWorkOptions
from respin_benchmarks.runner import PageReport, collect, run_benchmark
from respin_benchmarks.targets import verdict
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.sampling import Guidance, SamplingParams, start
from respin_ensemble.sampling.samplers import ModelFamily
from respin_ensemble.sampling.trajectory import Sample

FILE = "host_work.csv"
AIM_MS = 0.3
CASES: tuple[tuple[ModelSpec, ModelFamily, int], ...] = (
    (ZERO123_UNET, "zero123", 1),
    (ZERO123_UNET, "zero123", 8),
    (INPAINT_UNET, "inpainting", 1),
    (INPAINT_UNET, "inpainting", 4),
)

ETA: Mapping[ModelFamily, float] = {"zero123": 1.0, "inpainting": 0.0}
"""What requests ask for by default: fresh noise at every step of a view, none for a background."""

SWITCH_S = 0.001
"""The engine's interval between two turns of Python's threads."""


@dataclass(frozen=True, kw_only=True)
class HostWorkRun(Circumstances):
    """One job's steps at one UNet, alone."""

    unet: str  # its name
    batch: int  # samples in a call
    calls: int  # that were made
    repeat: int  # number of the run
    cpu_ms: float  # processor time of a step, all threads
    wall_ms: float  # the same by the clock


class FreeNetworks(BatchedNetworks):
    """Answer zeros at once, and count the calls."""

    def __init__(self) -> None:
        super().__init__(Sizes())
        self.calls = 0

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        self.calls += 1
        return {"noise": np.zeros_like(arrays["latents"])}


def _sample(unet: ModelSpec, family: ModelFamily, steps: int, seed: int) -> Sample:
    inputs = {name: array[0] for name, array in usual_inputs(unet, Sizes(), 1).items()}
    latents = inputs.pop("latents")
    conditions = {name: array for name, array in inputs.items() if name not in ("timestep", "guidance")}
    params = SamplingParams("ddim", steps, Guidance(3.0), ETA[family])
    return start(params, latents, conditions, family=family, generator=np.random.default_rng(seed))


def measure_host_work(*, steps: int, repeats: int) -> Iterator[HostWorkRun]:
    """Measure every case in turn, at the published sizes.

    Args:
        steps: of DDIM.
        repeats: of each case; one more comes first, which is not measured.
    """
    here = Circumstances.now(("numpy",))
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        for repeat in range(-1, repeats):
            for unet, family, batch in CASES:
                calls, cpu_s, wall_s = _run_steps(unet, family, batch, steps)
                if repeat >= 0:
                    yield HostWorkRun(
                        **vars(here),
                        unet=unet.name,
                        batch=batch,
                        calls=calls,
                        repeat=repeat,
                        cpu_ms=round(cpu_s / calls * 1e3, 4),
                        wall_ms=round(wall_s / calls * 1e3, 4),
                    )
    finally:
        sys.setswitchinterval(interval_s)


def _run_steps(unet: ModelSpec, family: ModelFamily, batch: int, steps: int) -> tuple[int, float, float]:
    """Return the number of calls, and the seconds that all of them took: of the processor, and by the clock."""
    samples = [_sample(unet, family, steps, seed) for seed in range(batch)]
    networks = FreeNetworks()
    with StepBatchers(networks) as batchers:
        began_cpu_s, began_s = time.process_time(), time.perf_counter()
        for _ in batchers.run(unet, samples, lambda done, total: None):
            pass
        return networks.calls, time.process_time() - began_cpu_s, time.perf_counter() - began_s


def page_of(runs: Sequence[HostWorkRun]) -> str:
    """Return the section.

    Args:
        runs: at least one of each case.
    """
    first = runs[0]
    rows, alone = [], []
    for unet, _, batch in CASES:
        mine = [run for run in runs if (run.unet, run.batch) == (unet.name, batch)]
        cpu, wall = ([getattr(run, name) for run in mine] for name in ("cpu_ms", "wall_ms"))
        if batch == 1:
            alone.append(statistics.median(cpu))
        rows.append([f"`{unet.name}`", str(batch), ranged_text(cpu, ".2f"), ranged_text(wall, ".2f")])
    lines = [
        f"{first.machine}, {first.date}, commit {first.commit}, {first.versions}; medians of "
        f"{max(run.repeat for run in runs) + 1} interleaved repeats (least to greatest), {first.calls} calls each.",
        "",
        *table(["UNet", "samples a call", "processor time of a step, ms", "by the clock, ms"], rows),
        "",
        f"At one sample the aim is {AIM_MS} ms of processor time: {verdict(max(alone) <= AIM_MS)}.",
    ]
    return "\n".join(lines) + "\n"


def run(options: HostWorkOptions) -> None:
    """Measure, and write the report."""

    def measure() -> None:
        file = options.results / FILE
        with recorded("host-work", [file], anew=True):
            rows = measure_host_work(steps=options.steps, repeats=options.repeats)
            collect(file, HostWorkRun, rows, options.repeats * len(CASES))

    run_benchmark(HOST_WORK, measure, options)


def text_of(results: Path) -> str:
    """Return the section from the folder of results."""
    return page_of(read_rows(results / FILE, HostWorkRun))


HOST_WORK = PageReport("host work", text_of)
