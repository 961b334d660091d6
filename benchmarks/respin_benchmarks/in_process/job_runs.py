"""Whole jobs, interleaved with the baseline's: times, shares, memory, energy, and whether the pictures are the same."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.request import RotationRequest
from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.in_process.engine import (
    PHOTO,
    InProcessEngine,
    Outcome,
    median_latency_s,
    png,
    psnr_db,
    request_for_cup,
)
from respin_benchmarks.in_process.job_cells import CellKey
from respin_benchmarks.in_process.machine import NO_MEMORY, Machine, Memory
from respin_benchmarks.in_process.rows import Interval, JobRun
from respin_benchmarks.in_process.weights import Kind
from respin_ensemble.networks import BatchedNetworks


@dataclass(frozen=True)
class Cell:
    """What is asked for.

    Args:
        sampler: of both UNets.
        steps: of Zero123.
        background_steps: of the inpainting.
        views: a job.
        jobs: at the same time.
    """

    sampler: str = "ddim"
    steps: int = 75
    background_steps: int = 50
    views: int = 1
    jobs: int = 1

    def request(self, *, seed: int = 0) -> RotationRequest:
        """The job."""
        return request_for_cup(
            steps=self.steps,
            background_steps=self.background_steps,
            views=self.views,
            sampler=self.sampler,
            seed=seed,
        )

    @property
    def key(self) -> CellKey:
        """What a row of it is found by."""
        return self.sampler, self.steps, self.background_steps, self.views, self.jobs

    @property
    def compared(self) -> bool:
        """Whether the baseline does it too: it knows one view and DDIM."""
        return (self.sampler, self.views, self.jobs) == ("ddim", 1, 1)


def usual_cells(*, steps: int, background_steps: int, few: int, views: int, most_jobs: int) -> list[Cell]:
    """What is measured: one image, few steps, many views, many jobs."""
    usual = Cell("ddim", steps, background_steps)
    fewer = Cell("unipc_karras", few, few)
    many = [replace(usual, jobs=jobs) for jobs in (2, 4, 8) if jobs <= most_jobs]
    return [usual, fewer, replace(usual, views=views), replace(fewer, views=views), *many]


@dataclass(frozen=True)
class Jobs:
    """Measures jobs on one machine.

    Args:
        machine: that they run on.
        weights: which ones, in words.
        half: in float16.
    """

    machine: Machine
    weights: str
    half: bool

    def baseline(self, script: Baseline, cell: Cell, *, memory: Memory, repeat: int) -> tuple[JobRun, Outcome]:
        """One job by the script, the encoding of its answer among it."""
        request = cell.request()
        joules, began_s = self.machine.joules(), time.perf_counter()
        with Image.open(BytesIO(request.image)) as file:
            photo = np.array(file.convert("RGB"))
        made = {name: Image.fromarray(picture) for name, picture in script(request, photo).items()}
        png(made["image"])
        wall_s = time.perf_counter() - began_s
        joules = self.machine.joules() - joules
        outcome = Outcome(wall_s, {name: partial(png, picture) for name, picture in made.items()})
        run = self._run(cell, "torch eager", repeat, wall_s, memory)
        return replace(run, way="baseline", joules=round(joules, 1)), outcome

    def cold(self, cell: Cell, weights: Kind, work: Path, *, repeat: int) -> JobRun:
        """The script in a process of its own, from its start to its end; it loads everything for one picture."""
        asked = ["--steps", str(cell.steps), "--background-steps", str(cell.background_steps)]
        where = ["--device", self.machine.kind, "--weights", weights, "--work", str(work)]
        precision = ["--precision", "fp16" if self.half else "fp32"]
        with TemporaryDirectory() as folder:
            output = ["--output", str(Path(folder) / "generated.png")]
            command = [sys.executable, "-m", "respin_benchmarks.baseline", *asked, *where, *precision, *output]
            began_s = time.perf_counter()
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            wall_s = time.perf_counter() - began_s
        peak_mib = int(said) if self.machine.kind == "cpu" else 0
        run = self._run(cell, "torch eager", repeat, wall_s, NO_MEMORY)
        return replace(run, way="cold baseline", memory_mib=peak_mib)

    def engine(
        self,
        engine: InProcessEngine,
        runtime: str,
        cell: Cell,
        *,
        memory: Memory,
        repeat: int,
        baseline: Outcome | None = None,
    ) -> tuple[JobRun, list[Interval]]:
        """One burst of jobs by the engine, and where the time of a single one went."""
        engine.trace.intervals.clear()
        request = cell.request()
        busy, joules, began_s = engine.busy_s(), self.machine.joules(), time.perf_counter()
        outcomes = engine.burst(request, cell.jobs)
        wall_s = time.perf_counter() - began_s
        joules = (self.machine.joules() - joules) / (cell.jobs * cell.views)
        shares = [(after - before) / wall_s for before, after in zip(busy, engine.busy_s(), strict=True)]
        run = self._run(cell, runtime, repeat, wall_s, memory)
        view_db, background_db = (
            _compared(outcomes[0], baseline, name) if baseline else math.nan for name in ("novel_view", "background")
        )
        run = replace(
            run,
            latency_s=round(median_latency_s(outcomes), 4),
            zero123_busy=round(shares[0], 3),
            inpaint_busy=round(shares[1], 3),
            psnr_view_db=round(view_db, 1),
            psnr_background_db=round(background_db, 1),
            joules=round(joules, 1),
        )
        return run, [
            Interval(each.name, round(each.began_s - began_s, 5), round(each.ended_s - began_s, 5))
            for each in engine.trace.intervals
        ]

    def _run(self, cell: Cell, runtime: str, repeat: int, wall_s: float, memory: Memory) -> JobRun:
        return JobRun(
            way="engine",
            runtime=runtime,
            precision="fp16" if self.half else "fp32",
            sampler=cell.sampler,
            steps=cell.steps,
            background_steps=cell.background_steps,
            views=cell.views,
            jobs=cell.jobs,
            repeat=repeat,
            wall_s=round(wall_s, 4),
            latency_s=round(wall_s, 4),
            images_s=round(cell.jobs * cell.views / wall_s, 4),
            zero123_busy=math.nan,
            inpaint_busy=math.nan,
            psnr_view_db=math.nan,
            psnr_background_db=math.nan,
            memory_mib=memory.whole,
            process_memory_mib=memory.process,
            joules=math.nan,
            photo=PHOTO,
            weights=self.weights,
            commit=self.machine.commit,
            date=self.machine.date,
            machine=self.machine.name,
            versions=self.machine.versions,
        )


def _compared(outcome: Outcome, baseline: Outcome, name: str) -> float:
    return psnr_db(outcome.picture(name), baseline.picture(name))


def warmed(networks: BatchedNetworks, cells: Sequence[Cell], machine: Machine) -> tuple[InProcessEngine, Memory]:
    """An engine that has seen every shape of these cells, and the memory that is in use then."""
    engine = InProcessEngine(networks)
    samples = {
        ZERO123_UNET: max(cell.views * cell.jobs for cell in cells),
        INPAINT_UNET: max(cell.jobs for cell in cells),
    }
    largest = {unet: min(unet.max_batch_size, most) for unet, most in samples.items()}
    engine.warm([Cell("ddim", 4, 4, views).request() for views in sorted({cell.views for cell in cells})], largest)
    released(machine)
    # With scratch memory, which the first job after takes again.
    engine.job(Cell("ddim", 4, 4).request())
    return engine, machine.memory()


def released(machine: Machine) -> None:
    """Give back what is no longer used, so that the next memory figure is of what is."""
    gc.collect()
    if machine.kind == "cuda":
        torch.cuda.empty_cache()


def interleaved(cells: Sequence[Cell], ways: Mapping[str, object], repeats: int) -> Iterator[tuple[int, Cell, str]]:
    """Every cell in every way once, neighbours in time, then all again."""
    for repeat in range(repeats):
        for cell in cells:
            for way in ways:
                yield repeat, cell, way
