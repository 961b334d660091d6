"""Whole jobs: times, shares, memory, energy, and whether the pictures are the baseline's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from respin.report.circumstances import core_count
from respin.request import RotationRequest
from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.in_process.engine import PHOTO, Way, png, request_for_cup
from respin_benchmarks.in_process.machine import GpuMemory, Machine
from respin_benchmarks.in_process.rows import JobKey, JobRun
from respin_benchmarks.quality.metrics import psnr_db

EAGER = "torch eager"
"""Entry of the baseline in the column of runtimes."""

COMPARED = {"psnr_view_db": "novel_view", "psnr_background_db": "background"}
"""Columns, and the pictures whose PSNR against the baseline's they hold."""


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
        asked = {name: value for name, value in vars(self).items() if name != "jobs"}
        return request_for_cup(**asked)

    @property
    def key(self) -> JobKey:
        """See `JobRun.key`."""
        return self.sampler, self.steps, self.background_steps, self.views, self.jobs


@dataclass(frozen=True)
class JobBench:
    """Measures jobs on one machine."""

    machine: Machine  # that they run on
    weights: str  # which ones, in words

    def run_burst(self, way: Way, cell: JobCell) -> tuple[list[float], float]:
        """Do the jobs of a cell at the same time, each with its own seed; return the latencies and the whole, s."""
        requests = [replace(cell.request, seed=number) for number in range(cell.jobs)]

        def latency_s(request: RotationRequest) -> float:
            began_s = time.perf_counter()
            way.run_job(request, ("image",))
            return time.perf_counter() - began_s

        with ThreadPoolExecutor(cell.jobs) as callers:
            began_s = time.perf_counter()
            latencies_s = list(callers.map(latency_s, requests))
            return latencies_s, time.perf_counter() - began_s

    def measure(self, way: Way, runtime: str, cell: JobCell, repeat: int, **known: Any) -> JobRun:
        """Run one burst by a way with networks of a runtime; `known` are further columns."""
        busy = way.busy_s()
        latencies_s, wall_s = self.run_burst(way, cell)
        shares = [round((after - before) / wall_s, 3) for before, after in zip(busy, way.busy_s(), strict=True)]
        columns = {
            **dict(zip(("zero123_busy", "inpaint_busy"), shares, strict=True)),
            "latency_s": round(median(latencies_s), 4),
            "ready_s": round(way.ready_s, 1),
        }
        return self.row(way.name, runtime, cell, repeat, wall_s, **columns, **known)

    def measure_baseline(self, script: Baseline, cell: JobCell, repeat: int, memory: GpuMemory) -> JobRun:
        """Run one job by the script; the encoding of its answer counts."""
        began_s = time.perf_counter()
        png(Image.fromarray(run_baseline(script, cell)["image"]))
        return self.row("baseline", EAGER, cell, repeat, time.perf_counter() - began_s, **memory.columns())

    def row(self, way: str, runtime: str, cell: JobCell, repeat: int, wall_s: float, **others: Any) -> JobRun:
        """Return a row; its latency is that of the whole burst unless it is among the others."""
        columns = {
            **vars(self.machine.circumstances),
            **vars(cell),
            "way": way,
            "runtime": runtime,
            "precision": self.machine.precision,
            "repeat": repeat,
            "wall_s": round(wall_s, 4),
            "latency_s": round(wall_s, 4),
            "images_s": round(cell.jobs * cell.views / wall_s, 4),
            "photo": PHOTO,
            "weights": self.weights,
        }
        return JobRun(**(columns | others))


def run_baseline(script: Baseline, cell: JobCell) -> dict[str, Any]:
    """Return the pictures of one job by the script, on every core: loaders of other ways may have limited PyTorch."""
    with _all_threads(), Image.open(BytesIO(cell.request.image)) as file:
        return dict(script(cell.request, np.array(file.convert("RGB"))))


@contextmanager
def _all_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(core_count())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(way: Way, cell: JobCell, reference: Mapping[str, bytes]) -> dict[str, float]:
    """Return the PSNR of a way's pictures against the baseline's, dB, by column.

    Args:
        way: way of doing the job.
        cell: cell of one job.
        reference: the baseline's pictures, PNG files by name.
    """
    made = way.run_job(cell.request, tuple(COMPARED.values()))
    pixels = {name: [_decoded(files[name]) for files in (made, reference)] for name in COMPARED.values()}
    return {column: round(psnr_db(*pixels[name]), 1) for column, name in COMPARED.items()}


def _decoded(file: bytes) -> Any:
    return np.asarray(Image.open(BytesIO(file)).convert("RGB"))
