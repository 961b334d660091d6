"""Whole jobs, interleaved with the baseline's: times, shares, memory, energy, and whether the pictures are the same."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.request import RotationRequest
from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.in_process.engine import PHOTO, InProcessEngine, JobOutcome, png, request_for_cup
from respin_benchmarks.in_process.machine import NO_MEMORY, GpuMemory, Machine
from respin_benchmarks.in_process.rows import Interval, JobKey, JobRun
from respin_benchmarks.quality.metrics import psnr_db
from respin_ensemble.networks import BatchedNetworks


@dataclass(frozen=True)
class JobCell:
    """One kind of burst that is measured."""

    sampler: str = "ddim"  # of both UNets
    steps: int = 75  # of the novel view
    background_steps: int = 50  # of the background
    views: int = 1  # per job
    jobs: int = 1  # at the same time

    @property
    def request(self) -> RotationRequest:
        """The request of each job."""
        return request_for_cup(
            sampler=self.sampler, steps=self.steps, background_steps=self.background_steps, views=self.views
        )

    @property
    def key(self) -> JobKey:
        """See `JobRun.key`."""
        return self.sampler, self.steps, self.background_steps, self.views, self.jobs

    @property
    def has_baseline(self) -> bool:
        """Whether the baseline can do it: it knows one view and DDIM."""
        return (self.sampler, self.views, self.jobs) == ("ddim", 1, 1)


def usual_cells(*, steps: int, background_steps: int, few: int, views: int, most_jobs: int) -> list[JobCell]:
    """Return what is measured: one image, few steps, many views, many jobs."""
    usual, fewer = JobCell("ddim", steps, background_steps), JobCell("unipc_karras", few, few)
    many = [replace(usual, jobs=jobs) for jobs in (2, 4, 8) if jobs <= most_jobs]
    return [usual, fewer, replace(usual, views=views), replace(fewer, views=views), *many]


@dataclass(frozen=True)
class JobBench:
    """Measures jobs on one machine."""

    machine: Machine  # that they run on
    weights: str  # which ones, in words
    half: bool  # in float16

    @property
    def precision(self) -> str:
        """Of the networks, in words."""
        return "fp16" if self.half else "fp32"

    def measure_baseline(
        self, script: Baseline, cell: JobCell, *, memory: GpuMemory, repeat: int
    ) -> tuple[JobRun, JobOutcome]:
        """Run one job by the script; the encoding of its answer counts."""
        request, joules, began_s = cell.request, self.machine.joules(), time.perf_counter()
        with Image.open(BytesIO(request.image)) as file:
            photo = np.array(file.convert("RGB"))
        made = {name: Image.fromarray(picture) for name, picture in script(request, photo).items()}
        png(made["image"])
        wall_s, joules = time.perf_counter() - began_s, self.machine.joules() - joules
        outcome = JobOutcome(wall_s, {name: partial(png, picture) for name, picture in made.items()})
        run = self._run("baseline", "torch eager", cell, wall_s, memory, repeat=repeat, joules=round(joules, 1))
        return run, outcome

    def measure_cold_start(self, cell: JobCell, weights: str, work: Path, *, repeat: int) -> JobRun:
        """Run the script in a process of its own, from its start to its end; it loads everything for one picture."""
        with TemporaryDirectory() as folder:
            options = {
                "steps": cell.steps,
                "background-steps": cell.background_steps,
                "device": self.machine.kind,
                "weights": weights,
                "work": work,
                "precision": self.precision,
                "output": Path(folder) / "generated.png",
            }
            flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
            began_s = time.perf_counter()
            command = [sys.executable, "-m", "respin_benchmarks.baseline", *flags]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            wall_s = time.perf_counter() - began_s
        peak = GpuMemory(int(printed) if self.machine.kind == "cpu" else 0, NO_MEMORY.process)
        return self._run("cold baseline", "torch eager", cell, wall_s, peak, repeat=repeat)

    def measure_engine(
        self,
        engine: InProcessEngine,
        runtime: str,
        cell: JobCell,
        *,
        memory: GpuMemory,
        repeat: int,
        baseline: JobOutcome | None = None,
    ) -> tuple[JobRun, list[Interval]]:
        """Run one burst of jobs by the engine; return its row, and where the time of a single job went."""
        engine.meter.intervals.clear()
        busy, joules, began_s = engine.busy_s(), self.machine.joules(), time.perf_counter()
        outcomes = engine.run_burst(cell.request, cell.jobs)
        wall_s, joules = time.perf_counter() - began_s, self.machine.joules() - joules
        shares = [(after - before) / wall_s for before, after in zip(busy, engine.busy_s(), strict=True)]
        figures = {
            "zero123_busy": round(shares[0], 3),
            "inpaint_busy": round(shares[1], 3),
            "latency_s": round(median(outcome.latency_s for outcome in outcomes), 4),
            "joules": round(joules / (cell.jobs * cell.views), 1),
        }
        if baseline:
            for column, name in (("psnr_view_db", "novel_view"), ("psnr_background_db", "background")):
                figures[column] = round(psnr_db(outcomes[0].picture(name), baseline.picture(name)), 1)
        return self._run("engine", runtime, cell, wall_s, memory, repeat=repeat, **figures), [
            Interval(each.name, round(each.began_s - began_s, 5), round(each.ended_s - began_s, 5))
            for each in engine.meter.intervals
        ]

    def _run(self, way: str, runtime: str, cell: JobCell, wall_s: float, memory: GpuMemory, **others: Any) -> JobRun:
        columns = {
            **vars(self.machine.circumstances),
            **vars(cell),
            "way": way,
            "runtime": runtime,
            "precision": self.precision,
            "wall_s": round(wall_s, 4),
            "latency_s": round(wall_s, 4),
            "images_s": round(cell.jobs * cell.views / wall_s, 4),
            "memory_mib": memory.whole,
            "process_memory_mib": memory.process,
            "photo": PHOTO,
            "weights": self.weights,
        }
        return JobRun(**(columns | others))


def warmed_engine(
    networks: BatchedNetworks, cells: Sequence[JobCell], machine: Machine
) -> tuple[InProcessEngine, GpuMemory]:
    """Return an engine that has met every shape of these cells, and the memory that is in use then."""
    engine = InProcessEngine(networks)
    samples = {
        ZERO123_UNET: max(cell.views * cell.jobs for cell in cells),
        INPAINT_UNET: max(cell.jobs for cell in cells),
    }
    largest = {unet: min(unet.max_batch_size, most) for unet, most in samples.items()}
    engine.warm([JobCell("ddim", 4, 4, views).request for views in sorted({cell.views for cell in cells})], largest)
    machine.release_memory()
    # With scratch memory, which the first job after takes again.
    engine.run_job(JobCell("ddim", 4, 4).request)
    return engine, machine.memory()
