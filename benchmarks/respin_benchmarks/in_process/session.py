"""One run of the measurement, begun or gone on with: which runtimes, in which order, as far as the time goes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch
import typer

from respin.contracts import NETWORKS
from respin.report.rows import read_rows, write_rows
from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.circumstances import recorded
from respin_benchmarks.in_process.engine import InProcessEngine, JobOutcome
from respin_benchmarks.in_process.example_inputs import batches_of
from respin_benchmarks.in_process.job_runs import JobBench, JobCell, usual_cells, warmed_engine
from respin_benchmarks.in_process.machine import NO_MEMORY, GpuMemory, Machine
from respin_benchmarks.in_process.network_runs import NetworkBench, make_trials
from respin_benchmarks.in_process.report import in_process_report, intervals_file, jobs_file, networks_file
from respin_benchmarks.in_process.resumption import Subject, cold_starts_left, repeats_left
from respin_benchmarks.in_process.rows import Interval, JobRun, NetworkRun
from respin_benchmarks.in_process.runtimes import RUNTIMES, OutOfTime, RuntimeLoader, default_runtimes
from respin_benchmarks.in_process.weights import WEIGHTS, load_weights
from respin_benchmarks.options import InProcessOptions
from respin_benchmarks.runner import Budget, check_choices, run_benchmark
from respin_ensemble.networks import BatchedNetworks

MEASURES = ("networks", "cold", "jobs")


def run(options: InProcessOptions) -> None:
    """Measure what is left to measure, and write the report.

    On a GPU: full-size networks with seeded random weights in FP16, since speed and memory do not depend on the values.
    On a CPU: the mini set in FP32. Rows are kept as they come: the same command again goes on where it ended.
    """
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = options.device == "cuda"
    options.weights = options.weights or ("full" if on_gpu else "set")
    options.precision = options.precision or ("fp16" if on_gpu else "fp32")
    check_choices("measure", options.measure, MEASURES)
    check_choices("device", [options.device], ("cpu", "cuda"))
    check_choices("weights", [options.weights], list(WEIGHTS))
    check_choices("precision", [options.precision], ("fp32", "fp16"))
    check_choices("runtime", options.runtime, RUNTIMES)
    check_choices("network", options.network, list(NETWORKS))
    # Full size on a CPU has a section of its own: it is not served so.
    label = "cpu_full" if (options.device, options.weights) == ("cpu", "full") else options.device
    report = in_process_report(label)

    def measure() -> None:
        files = [file(options.results, label) for file in (jobs_file, networks_file)]
        measurement = InProcessMeasurement(options, label)
        # Rows of earlier runs stay: a run that was ended goes on.
        with recorded(report.section, files, anew=False):
            measurement.run()

    run_benchmark(report, measure, options)


class InProcessMeasurement:
    """One measurement, begun or gone on with.

    Args:
        options: of the command, with device, weights and precision filled in.
        label: of the results' files.
    """

    def __init__(self, options: InProcessOptions, label: str) -> None:
        self.options, self.label, self.budget = options, label, Budget(options.budget_s)
        self.machine = Machine(options.device)
        self.half = options.precision == "fp16"
        self.words = WEIGHTS[options.weights]
        self.subject = Subject(self.words, options.precision, self.machine.circumstances)
        self.jobs = JobBench(self.machine, self.words, self.half)
        self.networks_file = networks_file(options.results, label)
        self.jobs_file = jobs_file(options.results, label)
        self.opened: dict[str, BatchedNetworks] = {}
        torch.zeros(1, device=self.machine.kind)  # creates CUDA's context, which is part of whatever runs
        self.idle = self.machine.memory()

    def tell(self, text: str) -> None:
        """Print what happens, and when."""
        typer.echo(f"{self.budget.elapsed_s:6.1f} s  {text}")

    def run(self) -> None:
        """Measure what is asked for, as far as the time goes."""
        try:
            self._run()
        except OutOfTime as error:
            self.tell(str(error))

    def _run(self) -> None:
        cores = os.cpu_count() or 1
        self.weights = load_weights(self.options.weights, self.options.work / "weights", jobs=cores)
        self.loader = RuntimeLoader(
            self.weights,
            self.machine.kind,
            self.half,
            self.options.work,
            jobs=max(1, cores // 2),
            tell=self.tell,
            time_is_up=self.budget.is_over,
        )
        self.tell("weights are there")
        # A GPU holds one way at a time, and a run that is ended has measured one before it opens the next. On a CPU
        # all take turns, so that whatever else the machine does affects them alike.
        runtimes = self.options.runtime or default_runtimes(self.machine.kind)
        for together in [[runtime] for runtime in runtimes] if self.machine.kind == "cuda" else [runtimes]:
            # Jobs first: graphs of single networks, in batches that no job brings, would count as a job's memory.
            if "jobs" in self.options.measure and not self.budget.is_over():
                self.measure_jobs(together)
            if "networks" in self.options.measure and not self.budget.is_over():
                self.measure_networks(together)
            self.opened.clear()
            self.machine.release_memory()
        if "cold" in self.options.measure:
            self.measure_cold_starts()

    def measure_networks(self, runtimes: Sequence[str]) -> None:
        """Measure single networks by these runtimes in turn."""
        key, largest = ("network", "runtime", "precision", "batch"), self.options.largest_batch
        done = {tuple(getattr(row, name) for name in key): row for row in read_rows(self.networks_file, NetworkRun)}
        measured = {(row.network, row.runtime, row.batch) for row in self.subject.own(done.values())}
        left = {
            name: [each for each in runtimes if {(name, each, n) for n in batches_of(name, largest)} - measured]
            for name in self.options.network or NETWORKS
        }
        if not any(left.values()):
            self.tell(f"{', '.join(runtimes)}: networks are measured")
            return
        ceilings = self.machine.measure_ceilings(torch.float16 if self.half else torch.float32)
        self.tell(f"at best {ceilings.matmul_tflops:g} TFLOP/s and {ceilings.copy_gb_s:g} GB/s")
        bench = NetworkBench(self.machine, ceilings, self.half, self.words, self.options.calls)
        for name in (name for name in NETWORKS if left.get(name)):
            if self.budget.is_over():
                return
            # A network at a time, unless whole jobs have opened all: at full size three runtimes fill a machine.
            ways = {each: self.opened.get(each) or self.loader.load(each, [name]) for each in left[name]}
            for trial in make_trials(self.weights, name, self.machine, half=self.half, largest_batch=largest):
                for row in bench.measure(ways, trial):
                    done[tuple(getattr(row, column) for column in key)] = row
                    self.tell(
                        f"{row.runtime}: {name} x {row.batch}: {row.call_ms:.2f} ms, on the device "
                        f"{row.device_ms:.2f}, floor {row.floor_ms:.2f}; {row.errors} {row.note}"
                    )
                write_rows(self.networks_file, NetworkRun, done.values())
            self.machine.release_memory()

    def measure_cold_starts(self) -> None:
        """Start the script in processes of its own."""
        cell = JobCell(steps=self.options.steps, background_steps=self.options.background_steps)
        rows, wanted = read_rows(self.jobs_file, JobRun), self.options.cold_starts
        left = cold_starts_left(self.subject.own(rows), cell.key, wanted)
        for repeat in range(wanted - left, wanted):
            if self.budget.is_over():
                return
            rows.append(self.jobs.measure_cold_start(cell, self.options.weights, self.options.work, repeat=repeat))
            write_rows(self.jobs_file, JobRun, rows)
            self.tell(f"cold baseline: {rows[-1].latency_s:.1f} s")

    def measure_jobs(self, runtimes: Sequence[str]) -> None:
        """Measure whole jobs by these runtimes, interleaved with the baseline."""
        options = self.options
        cells = usual_cells(
            steps=options.steps,
            background_steps=options.background_steps,
            few=options.few_steps,
            views=options.views,
            most_jobs=options.most_jobs,
        )
        rows = self.subject.kept(read_rows(self.jobs_file, JobRun), runtimes)
        left = repeats_left(self.subject.own(rows), [cell.key for cell in cells], runtimes, options.repeats)
        if not left:
            self.tell(f"{', '.join(runtimes)}: jobs are measured")
            return
        with ExitStack() as stack:
            ways: dict[str, Baseline | InProcessEngine] = {}
            memory: dict[str, GpuMemory] = {}
            for runtime in runtimes:
                before = self.machine.memory()
                networks = self.opened[runtime] = self.opened.get(runtime) or self.loader.load(runtime)
                self.tell(f"{runtime}: loaded")
                if self.budget.is_over():
                    raise OutOfTime(f"time is up with {runtime} loaded; run the same command again")
                engine, in_use = warmed_engine(networks, cells, self.machine)
                ways[runtime] = stack.enter_context(engine)
                memory[runtime] = in_use - (before - self.idle)
                self.tell(f"{runtime}: warm, {memory[runtime]}{self.machine.torch_memory_text()}")
            before = self.machine.memory()
            script = Baseline(self.weights, device=self.machine.kind, half=self.half)
            self.jobs.measure_baseline(script, JobCell("ddim", 4, 4), memory=NO_MEMORY, repeat=0)
            memory["baseline"] = self.machine.memory() - (before - self.idle)
            self.tell(f"baseline: warm, {memory['baseline']}")
            self._interleave(cells, {"baseline": script, **ways}, memory, rows, left)

    def _interleave(
        self,
        cells: Sequence[JobCell],
        ways: Mapping[str, Baseline | InProcessEngine],
        memory: Mapping[str, GpuMemory],
        rows: list[JobRun],
        repeats: int,
    ) -> None:
        """Run every cell in every way once, neighbours in time, then all again."""
        first = 1 + max((row.repeat for row in rows), default=-1)
        turns = ((first + n, cell, name) for n in range(repeats) for cell in cells for name in ways)
        last: JobOutcome | None = None
        for repeat, cell, name in turns:
            if self.budget.is_over():
                return
            way = ways[name]
            if isinstance(way, InProcessEngine):
                row, intervals = self.jobs.measure_engine(
                    way, name, cell, memory=memory[name], repeat=repeat, baseline=last
                )
                if cell == cells[0]:
                    write_rows(intervals_file(self.options.results, self.label, name), Interval, intervals)
            elif cell.has_baseline:
                row, last = self.jobs.measure_baseline(way, cell, memory=memory[name], repeat=repeat)
            else:
                last = None
                continue
            rows.append(row)
            write_rows(self.jobs_file, JobRun, rows)
            self.tell(
                f"{name}: {cell.sampler} {cell.steps}+{cell.background_steps}, {cell.views} views x {cell.jobs}: "
                f"{row.latency_s:.3f} s, {row.images_s:.2f} images/s, busy {row.zero123_busy} {row.inpaint_busy}, "
                f"PSNR {row.psnr_view_db} {row.psnr_background_db}, {row.joules} J"
            )
