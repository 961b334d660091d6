"""One run of the measurement, begun or gone on with: through the server, in this process, as far as the time goes."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
import typer
from PIL import Image

from respin.bundled import bundled
from respin.contracts import NETWORKS
from respin.errors import RespinError
from respin.model_set import ModelSet
from respin.report.rows import read_rows, write_rows
from respin.runtimes import RUNTIMES
from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.circumstances import recorded
from respin_benchmarks.in_process.engine import Way, open_engine, png
from respin_benchmarks.in_process.example_inputs import batches_of
from respin_benchmarks.in_process.job_runs import COMPARED, JobBench, JobCell, compare, run_baseline
from respin_benchmarks.in_process.machine import GpuMemory, Machine
from respin_benchmarks.in_process.network_runs import NetworkBench, make_trials
from respin_benchmarks.in_process.page import in_process_report, jobs_file, networks_file
from respin_benchmarks.in_process.rows import JobKey, JobRun, NetworkRun, Subject
from respin_benchmarks.in_process.weights import load_weights
from respin_benchmarks.options import InProcessOptions
from respin_benchmarks.runner import Budget, check_choices, run_benchmark
from respin_ensemble.networks import BatchedNetworks
from respin_server.choice import Choice, Installed, Wanted, choose

MEASURES = ("served", "jobs", "networks")

WARM_UP_STEPS = 4
"""Of the jobs that come before those that are measured."""

START_SHARE = 0.5
"""Of the time that is left, which a server's start may take: a start that hangs leaves some for the rest."""


class OutOfTime(Exception):
    """The time is up; what was measured is kept."""


def run(options: InProcessOptions) -> None:
    """Measure what is left to measure, and write the report.

    On a GPU full-size networks with seeded random weights, since speed and memory do not depend on the values; on a CPU
    the mini set. Rows are kept as they come: the same command again goes on where it ended.
    """
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    options.weights = options.weights or ("full" if options.device == "cuda" else "set")
    check_choices("measure", options.measure, MEASURES)
    check_choices("device", [options.device], ("cpu", "cuda"))
    check_choices("runtime", options.runtime, list(RUNTIMES))
    check_choices("network", options.network, list(NETWORKS))
    report = in_process_report(options.device)

    def measure() -> None:
        files = [file(options.results, options.device) for file in (jobs_file, networks_file)]
        measurement = Measurement(options)
        # Rows of earlier runs stay: a run that was ended goes on.
        with recorded(report.section, files, anew=False):
            measurement.run()

    run_benchmark(report, measure, options)


class Measurement:
    """One measurement, begun or gone on with.

    Args:
        options: of the command, with device and weights filled in.
    """

    def __init__(self, options: InProcessOptions) -> None:
        self.options, self.budget = options, Budget(options.budget_s)
        self.machine = Machine(options.device)
        self.precision = "fp16" if options.device == "cuda" else "fp32"
        self.networks_file = networks_file(options.results, options.device)
        self.jobs_file = jobs_file(options.results, options.device)
        torch.zeros(1, device=self.machine.kind)  # creates CUDA's context, which is part of whatever runs
        self.idle = self.machine.memory()
        self.usual = JobCell("ddim", options.steps, options.background_steps)
        few = JobCell("unipc_karras", options.few_steps, options.few_steps)
        many = (replace(self.usual, views=options.views), replace(self.usual, jobs=options.most_jobs))
        self.cells = {cell.key: cell for cell in (self.usual, few, *many)}

    def tell(self, text: str) -> None:
        """Print what happens, and when."""
        typer.echo(f"{self.budget.elapsed_s:6.1f} s  {text}")

    def run(self) -> None:
        """Measure what is asked for, one runtime after the other, as far as the time goes."""
        cores = os.cpu_count() or 1
        self.weights, self.checkpoints, words = load_weights(self.options.weights, self.options.work, jobs=cores)
        self.subject = Subject(words, self.precision, self.machine.circumstances)
        self.bench = JobBench(self.machine, words, self.precision)
        self.tell(f"weights are there: {words}")
        choices = {runtime: self._choose(runtime) for runtime in self._runtimes()}
        try:
            for runtime, choice in choices.items():
                # What is served comes first. Jobs come before networks, whose batches would count as a job's memory.
                if "served" in self.options.measure:
                    self._attempt("served", runtime, partial(self.measure_served, runtime))
                if {"jobs", "networks"} & set(self.options.measure):
                    self._attempt("engine", runtime, partial(self.measure_in_process, runtime, choice))
        except OutOfTime as error:
            self.tell(str(error))

    def _runtimes(self) -> Sequence[str]:
        """Return the runtime of the set's files, if they are of these weights, and PyTorch."""
        if self.options.runtime:
            return self.options.runtime
        records = itertools.chain(*ModelSet.load(self._set()).networks.values())
        held = {Path(record.path).suffix for record in records}
        files = [name for name, each in RUNTIMES.items() if each.file and Path(each.file).suffix in held]
        return [*(files if self.options.models or self.checkpoints is None else []), "torch"]

    def _set(self) -> Path:
        return self.options.models or bundled("models/mini")

    def _choose(self, runtime: str) -> Choice:
        """Return what `respin serve` would load."""
        checkpoints = self.checkpoints if RUNTIMES[runtime].file is None else None
        return choose(Wanted(self.options.device, runtime, checkpoints), self._set(), Installed.here())

    def _attempt(self, way: str, runtime: str, measure: Callable[[], None]) -> None:
        """Measure; a failure becomes a row, and the rest goes on."""
        try:
            measure()
        except (RespinError, ModuleNotFoundError) as error:
            text = str(error)
            if isinstance(error, ModuleNotFoundError):
                text = f"there is no module '{error.name}'; pip install 'respin[serve]'"
            note = " ".join(text.split())
            self._add(self.bench.row(way, runtime, self.usual, 0, math.nan, note=note))

    def _stop_if_time_is_up(self) -> None:
        if self.budget.is_over():
            raise OutOfTime("time is up; run the same command again, it goes on from here")

    def _add(self, row: JobRun) -> None:
        kept = self.subject.kept(read_rows(self.jobs_file, JobRun), row.way, row.runtime)
        write_rows(self.jobs_file, JobRun, [*kept, row])
        asked = f"{row.sampler} {row.steps}+{row.background_steps}, {row.views} views x {row.jobs}"
        found = f"not measured: {row.note}" if row.note else f"{row.latency_s:.3f} s, {row.images_s:.2f} images/s"
        self.tell(f"{row.way}, {row.runtime}: {asked}: {found}")

    def _turns_left(self, way: str, runtime: str) -> list[list[JobKey]]:
        rows = read_rows(self.jobs_file, JobRun)
        return self.subject.keys_left(rows, way, runtime, list(self.cells), self.options.repeats)

    @cached_property
    def script(self) -> tuple[Baseline, GpuMemory]:
        """The baseline, warm, and the memory that it takes."""
        before = self.machine.memory()
        script = Baseline(self.weights, device=self.machine.kind, half=self.precision == "fp16")
        run_baseline(script, replace(self.usual, steps=WARM_UP_STEPS, background_steps=WARM_UP_STEPS))
        memory = self.machine.memory() - (before - self.idle)
        self.tell(f"baseline: warm, {memory}")
        return script, memory

    @cached_property
    def reference(self) -> Mapping[str, bytes]:
        """The baseline's pictures of the usual job, PNG files by name; those of an earlier run of the same code."""
        parts = (self.machine.circumstances.commit, self.subject.weights, self.precision, *self.usual.key)
        folder = self.options.work / "baseline" / re.sub(r"[^\w.-]+", "_", "-".join(map(str, parts)))
        files = {name: folder / f"{name}.png" for name in COMPARED.values()}
        if not all(file.is_file() for file in files.values()):
            made = run_baseline(self.script[0], self.usual)
            folder.mkdir(parents=True, exist_ok=True)
            for name, file in files.items():
                file.write_bytes(png(Image.fromarray(made[name])))
        return {name: file.read_bytes() for name, file in files.items()}

    def measure_served(self, runtime: str) -> None:
        """Measure whole jobs through `respin serve`."""
        turns = self._turns_left("served", runtime)
        if not turns:
            self.tell(f"served, {runtime}: measured")
            return
        # tritonclient and grpc, which a machine that measures in process alone need not have
        from respin_benchmarks.in_process.server import serve  # noqa: PLC0415

        self._stop_if_time_is_up()
        reference = self.reference
        self.machine.release_memory()
        self._stop_if_time_is_up()
        before, files = self.machine.memory(), RUNTIMES[runtime].file is not None
        options = {
            "device": self.options.device,
            "runtime": runtime,
            "weights": None if files else self.checkpoints,
            "models": self.options.models if files else None,
            "tritonserver": self.options.tritonserver,
        }
        began_s = self.budget.elapsed_s
        latest_s = began_s + START_SHARE * (self.budget.seconds - began_s)
        with serve(options, lambda: self.budget.elapsed_s > latest_s) as server:
            self.tell(f"served, {runtime}: ready in {server.ready_s:.1f} s")
            self._warm(server)
            memory, by_process = server.memory()
            memory = GpuMemory(memory.whole - before.whole, memory.process)
            self._run_turns(server, runtime, turns, reference, {**memory.columns(), "memory_by_process": by_process})

    def measure_in_process(self, runtime: str, choice: Choice) -> None:
        """Measure whole jobs beside the baseline, then single networks, by one runtime in this process."""
        turns = self._turns_left("engine", runtime) if "jobs" in self.options.measure else []
        networks = self._networks_left(runtime) if "networks" in self.options.measure else []
        if not turns and not networks:
            self.tell(f"in process, {runtime}: measured")
            return
        reference = self.reference if turns else {}
        self.machine.release_memory()
        self._stop_if_time_is_up()
        before = self.machine.memory()
        with open_engine(choice, self.machine, self.tell) as engine:
            self._stop_if_time_is_up()
            if turns:
                self._warm(engine)
                memory = engine.memory()[0] - (before - self.idle)
                self.tell(f"in process, {runtime}: ready in {engine.ready_s:.1f} s, {memory}")
                self._run_turns(engine, runtime, turns, reference, memory.columns())
            self._measure_networks(runtime, engine.networks, networks)
        self.machine.release_memory()

    def _warm(self, way: Way) -> None:
        """Bring every shape of the jobs to come."""
        for cell in self.cells.values():
            self.bench.run_burst(way, replace(cell, steps=WARM_UP_STEPS, background_steps=WARM_UP_STEPS))
            self._stop_if_time_is_up()

    def _run_turns(
        self,
        way: Way,
        runtime: str,
        turns: Sequence[Sequence[JobKey]],
        reference: Mapping[str, bytes],
        known: Mapping[str, Any],
    ) -> None:
        """Run every cell once, then all again; the baseline beside the engine's usual job, so that both have a repeat.

        Args:
            way: of doing the jobs, warm.
            runtime: of its networks.
            turns: cells of each repeat.
            reference: see `compare`.
            known: columns of every row.
        """
        same = compare(way, self.usual, reference)
        first = 1 + max((row.repeat for row in read_rows(self.jobs_file, JobRun)), default=-1)
        for repeat, turn in enumerate(turns, first):
            for cell in (self.cells[key] for key in turn):
                self._stop_if_time_is_up()
                if way.name == "engine" and cell == self.usual:
                    self._add(self.bench.measure_baseline(self.script[0], cell, repeat, self.script[1]))
                columns = {**known, **(same if cell == self.usual else {})}
                self._add(self.bench.measure(way, runtime, cell, repeat, **columns))

    def _networks_left(self, runtime: str) -> list[str]:
        rows = self.subject.own(read_rows(self.networks_file, NetworkRun))
        measured = {(row.network, row.batch) for row in rows if row.runtime == runtime}
        wanted = self.options.network or NETWORKS
        return [
            name
            for name in wanted
            if {(name, batch) for batch in batches_of(name, self.options.largest_batch)} - measured
        ]

    def _measure_networks(self, runtime: str, networks: BatchedNetworks, names: Sequence[str]) -> None:
        """Measure single networks."""
        if not names:
            return
        half = self.precision == "fp16"
        ceilings = self.machine.measure_ceilings(torch.float16 if half else torch.float32)
        self.tell(f"at best {ceilings.matmul_tflops:g} TFLOP/s and {ceilings.copy_gb_s:g} GB/s")
        bench = NetworkBench(self.machine, ceilings, self.precision, self.subject.weights, self.options.calls)
        for name in names:
            self._stop_if_time_is_up()
            trials = make_trials(
                self.weights, name, self.machine, half=half, batches=batches_of(name, self.options.largest_batch)
            )
            for row in (bench.measure(runtime, networks, trial) for trial in trials):
                others = [
                    each
                    for each in read_rows(self.networks_file, NetworkRun)
                    if (each.network, each.runtime, each.batch) != (row.network, row.runtime, row.batch)
                ]
                write_rows(self.networks_file, NetworkRun, [*others, row])
                self.tell(
                    f"{runtime}: {name} x {row.batch}: {row.call_ms:.2f} ms, on the device {row.device_ms:.2f}, "
                    f"limit {row.floor_ms:.2f}; {row.errors} {row.note}"
                )
            self.machine.release_memory()
