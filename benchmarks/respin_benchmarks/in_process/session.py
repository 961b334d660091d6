"""One run of the measurement, begun or gone on with: which runtimes, in which order, as far as the time goes."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from respin.contracts import NETWORKS
from respin.report.rows import read_rows, write_rows
from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.in_process.engine import InProcessEngine, Outcome
from respin_benchmarks.in_process.job_runs import Cell, Jobs, interleaved, released, usual_cells, warmed
from respin_benchmarks.in_process.machine import NO_MEMORY, Machine, Memory
from respin_benchmarks.in_process.network_runs import Bench, batches_of, rows_by_key, trials
from respin_benchmarks.in_process.report import intervals_file, jobs_file, networks_file
from respin_benchmarks.in_process.resume import OutOfTime, Subject, cold_starts_left, repeats_left
from respin_benchmarks.in_process.rows import Interval, JobRun, NetworkRun
from respin_benchmarks.in_process.runtimes import open_networks
from respin_benchmarks.in_process.weights import Kind, Weights, weights_of
from respin_ensemble.networks import BatchedNetworks

WORDS = {"set": "models/mini", "mini": "mini, random", "full": "full size, random"}


@dataclass
class Session:
    """One measurement, begun or gone on with.

    Args:
        options: of the command.
    """

    options: argparse.Namespace

    def __post_init__(self) -> None:
        self.began_s = time.monotonic()
        self.machine = Machine(self.options.device)
        self.half = self.options.precision == "fp16"
        self.words = WORDS[self.options.weights]
        self.subject = Subject(self.words, self.options.precision, self.machine)
        self.networks_file = networks_file(self.options.results, self.options.label)
        self.jobs_file = jobs_file(self.options.results, self.options.label)
        self.open: dict[str, BatchedNetworks] = {}
        self.rows: list[JobRun] = []
        torch.zeros(1, device=self.machine.kind)  # brings CUDA's context, which is part of whatever runs
        self.idle = self.machine.memory()

    @property
    def weights(self) -> Weights:
        """As the options say."""
        kind: Kind = self.options.weights
        return weights_of(kind, self.options.work / "weights", jobs=os.cpu_count() or 1)

    def tell(self, text: str) -> None:
        """Say what happens, and when."""
        print(f"{time.monotonic() - self.began_s:6.1f} s  {text}", flush=True)

    def time_is_up(self) -> bool:
        """Whether nothing new may begin."""
        return bool(time.monotonic() - self.began_s > self.options.budget_s)

    def run(self) -> None:
        """Measure what is asked for, as far as the time goes."""
        try:
            self._measure()
        except OutOfTime as error:
            self.tell(str(error))

    def _measure(self) -> None:
        weights = self.weights
        self.tell("weights are there")
        # A GPU holds one way at a time, and a run that is ended has measured one before it opens the next. On a CPU
        # all take turns, so that whatever else the machine does hits them alike.
        runtimes: list[str] = self.options.runtimes
        for together in [[runtime] for runtime in runtimes] if self.machine.kind == "cuda" else [runtimes]:
            # Jobs first: graphs of single networks, in batches that no job brings, would count as a job's memory.
            if "jobs" in self.options.measure and not self.time_is_up():
                self._jobs(weights, together)
            if "networks" in self.options.measure and not self.time_is_up():
                self._networks(weights, together)
            self.open.clear()
            released(self.machine)
        if "cold" in self.options.measure and not self.time_is_up():
            self._cold()

    def _opened(self, runtime: str, weights: Weights) -> BatchedNetworks:
        if runtime not in self.open:
            self.open[runtime] = self._load(runtime, weights, list(NETWORKS))
            self.tell(f"{runtime}: loaded")
        return self.open[runtime]

    def _load(self, runtime: str, weights: Weights, names: list[str]) -> BatchedNetworks:
        return open_networks(
            runtime,
            weights,
            device=self.machine.kind,
            half=self.half,
            work=self.options.work,
            jobs=max(1, (os.cpu_count() or 1) // 2),
            tell=self.tell,
            names=names,
            time_is_up=self.time_is_up,
        )

    def _networks(self, weights: Weights, runtimes: Sequence[str]) -> None:
        done = rows_by_key(read_rows(self.networks_file, NetworkRun))
        largest = self.options.largest_batch
        measured = {(row.network, row.runtime, row.batch) for row in self.subject.rows(done.values())}
        left = {
            name: [each for each in runtimes if {(name, each, n) for n in batches_of(name, largest)} - measured]
            for name in self.options.networks
        }
        if not any(left.values()):
            self.tell(f"{', '.join(runtimes)}: networks are measured")
            return
        ceilings = self.machine.ceilings(torch.float16 if self.half else torch.float32)
        self.tell(f"at best {ceilings.matmul_tflops:g} TFLOP/s and {ceilings.copy_gb_s:g} GB/s")
        bench = Bench(self.machine, ceilings, self.half, self.words, self.options.calls)
        for name in (name for name in NETWORKS if left.get(name)):
            if self.time_is_up():
                return
            # A network at a time, unless whole jobs have opened all: at full size three runtimes fill a machine.
            ways = {each: self.open.get(each) or self._load(each, weights, [name]) for each in left[name]}
            for trial in trials(weights, name, self.machine, half=self.half, largest_batch=largest):
                rows = bench.measured(ways, trial)
                done |= rows_by_key(rows)
                write_rows(self.networks_file, NetworkRun, done.values())
                for row in rows:
                    self.tell(
                        f"{row.runtime}: {name} x {row.batch}: {row.call_ms:.2f} ms, on the device "
                        f"{row.device_ms:.2f}, floor {row.floor_ms:.2f}; {row.errors} {row.note}"
                    )
            released(self.machine)

    def _cold(self) -> None:
        jobs = Jobs(self.machine, self.words, self.half)
        cell = Cell(steps=self.options.steps, background_steps=self.options.background_steps)
        rows, wanted = read_rows(self.jobs_file, JobRun), self.options.cold_starts
        left = cold_starts_left(self.subject.rows(rows), cell.key, wanted)
        for repeat in range(wanted - left, wanted):
            if self.time_is_up():
                return
            rows.append(jobs.cold(cell, self.options.weights, self.options.work, repeat=repeat))
            write_rows(self.jobs_file, JobRun, rows)
            self.tell(f"cold baseline: {rows[-1].latency_s:.1f} s")

    def _cells(self) -> list[Cell]:
        return usual_cells(
            steps=self.options.steps,
            background_steps=self.options.background_steps,
            few=self.options.few_steps,
            views=self.options.views,
            most_jobs=self.options.most_jobs,
        )

    def _jobs(self, weights: Weights, runtimes: Sequence[str]) -> None:
        cells = self._cells()
        self.rows = self.subject.kept(read_rows(self.jobs_file, JobRun), runtimes)
        keys = [cell.key for cell in cells]
        repeats = repeats_left(self.subject.rows(self.rows), keys, runtimes, self.options.repeats)
        if not repeats:
            self.tell(f"{', '.join(runtimes)}: jobs are measured")
            return
        with ExitStack() as stack:
            ways: dict[str, Baseline | InProcessEngine] = {}
            memory: dict[str, Memory] = {}
            for runtime in runtimes:
                before = self.machine.memory()
                networks = self._opened(runtime, weights)
                if self.time_is_up():
                    raise OutOfTime(f"time is up with {runtime} loaded; run the same command again")
                engine, there = warmed(networks, cells, self.machine)
                ways[runtime] = stack.enter_context(engine)
                memory[runtime] = there - (before - self.idle)
                self.tell(f"{runtime}: warm, {memory[runtime]}{self.machine.parts()}")
            before = self.machine.memory()
            script = Baseline(weights, device=self.machine.kind, half=self.half)
            jobs = Jobs(self.machine, self.words, self.half)
            jobs.baseline(script, Cell(steps=4, background_steps=4), memory=NO_MEMORY, repeat=0)
            memory["baseline"] = self.machine.memory() - (before - self.idle)
            self.tell(f"baseline: warm, {memory['baseline']}")
            self._bursts(jobs, cells, {"baseline": script, **ways}, memory, repeats)

    def _bursts(
        self,
        jobs: Jobs,
        cells: Sequence[Cell],
        ways: Mapping[str, Baseline | InProcessEngine],
        memory: Mapping[str, Memory],
        repeats: int,
    ) -> None:
        earlier = 1 + max((row.repeat for row in self.rows), default=-1)
        last: Outcome | None = None
        for repeat, cell, name in interleaved(cells, ways, repeats):
            if self.time_is_up():
                return
            way, number = ways[name], earlier + repeat
            if isinstance(way, InProcessEngine):
                row, intervals = jobs.engine(way, name, cell, memory=memory[name], repeat=number, baseline=last)
                if cell == cells[0]:
                    write_rows(intervals_file(self.options.results, self.options.label, name), Interval, intervals)
            elif cell.compared:
                row, last = jobs.baseline(way, cell, memory=memory[name], repeat=number)
            else:
                last = None
                continue
            self.rows.append(row)
            write_rows(self.jobs_file, JobRun, self.rows)
            self.tell(
                f"{name}: {cell.sampler} {cell.steps}+{cell.background_steps}, {cell.views} views x {cell.jobs}: "
                f"{row.latency_s:.3f} s, {row.images_s:.2f} images/s, busy {row.zero123_busy} {row.inpaint_busy}, "
                f"PSNR {row.psnr_view_db} {row.psnr_background_db}, {row.joules} J"
            )
