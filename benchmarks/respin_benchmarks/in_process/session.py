"""One run of the measurement, started or resumed: through the server, in this process, as far as the time goes."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial

import torch
import typer
from PIL import Image

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import RespinError
from respin.report.rows import read_rows, write_rows
from respin.runtimes import RUNTIMES
from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.circumstances import record_circumstances
from respin_benchmarks.in_process.engine import InProcessEngine, Way, open_engine, png
from respin_benchmarks.in_process.job_runs import COMPARED, JobBench, JobCell, compare, run_baseline
from respin_benchmarks.in_process.machine import GpuMemory, Machine
from respin_benchmarks.in_process.network_runs import BATCHES, NetworkBench
from respin_benchmarks.in_process.page import in_process_report, jobs_file, networks_file
from respin_benchmarks.in_process.rows import JobKey, JobRun, NetworkRun, Subject
from respin_benchmarks.in_process.weights import load_weights
from respin_benchmarks.options import InProcessOptions
from respin_benchmarks.runner import Budget, check_choices, run_benchmark
from respin_ensemble.networks import BatchedNetworks
from respin_server.choice import AUTO, Choice, Installed, Wanted, choose

MEASURES = ("served", "jobs", "networks")

COMPILED = "torch compiled"
"""PyTorch with torch.compile's code where it pays: `respin serve --runtime torch --compile`."""

WARM_UP_STEPS = 4
"""Steps of the warm-up jobs, which are not measured."""

START_SHARE = 0.5
"""Share of the remaining time that a server's start may take: a start that hangs leaves some for the rest."""


Start = Callable[[GpuMemory], AbstractContextManager[Way]]
"""Starts a way of doing jobs; given the memory that is in use before."""


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
    check_choices("runtime", options.runtime, [*RUNTIMES, COMPILED])
    check_choices("network", options.network, list(NETWORKS))
    report = in_process_report(options.device)

    def measure() -> None:
        files = [file(options.results, options.device) for file in (jobs_file, networks_file)]
        measurement = Measurement(options)
        # Rows of earlier runs stay: a run that was ended goes on.
        with record_circumstances(report.section, files, anew=False):
            measurement.run()

    run_benchmark(report, measure, options)


class Measurement:
    """One measurement, started or resumed.

    Args:
        options: options of the command, with device and weights filled in.
    """

    def __init__(self, options: InProcessOptions) -> None:
        self.options, self.budget = options, Budget(options.budget_s)
        self.machine = Machine(options.device)
        self.networks_file = networks_file(options.results, options.device)
        self.jobs_file = jobs_file(options.results, options.device)
        self.usual = JobCell("ddim", options.steps, options.background_steps)
        few = JobCell("unipc_karras", options.few_steps, options.few_steps)
        many = (replace(self.usual, views=options.views), replace(self.usual, jobs=options.most_jobs))
        self.cells = {cell.key: cell for cell in (self.usual, few, *many)}

    def log(self, text: str) -> None:
        """Print a line with the time since the beginning."""
        typer.echo(f"{self.budget.elapsed_s:6.1f} s  {text}")

    def run(self) -> None:
        """Measure what is asked for, one runtime after the other, as far as the time goes."""
        cores = os.cpu_count() or 1
        self.weights, self.checkpoints, words = load_weights(self.options.weights, self.options.work, jobs=cores)
        self.subject = Subject(words, self.machine.precision, self.machine.circumstances)
        self.bench = JobBench(self.machine, words)
        self.log(f"weights are there: {words}")
        choices = self._choices()
        try:
            for runtime, choice in choices.items():
                # What is served comes first.
                self._measure("served", runtime, partial(self._server, choice))
                self._measure("engine", runtime, partial(open_engine, choice, self.machine, self._report))
        except OutOfTime as error:
            self.log(str(error))

    def _choices(self) -> dict[str, Choice]:
        """Return what `respin serve` would load by the runtime of the set, if there is one, and by PyTorch."""
        device, models = self.options.device, self.options.models or bundled_path("models/mini")
        of_files = [] if self.checkpoints and not self.options.models else [AUTO]
        # Without torch.compile's code first: with it, the first start on a machine takes minutes.
        runtimes = self.options.runtime or [*of_files, "torch", *([COMPILED] if device == "cuda" else [])]
        choices = {}
        for name in runtimes:
            is_torch, compiled = name in ("torch", COMPILED), {"torch": False, COMPILED: True}.get(name)
            wanted = Wanted(device, name.split()[0], self.checkpoints if is_torch else None, compiled=compiled)
            choice = choose(wanted, models, Installed.detect())
            choices[choice.in_process.runtime if name == AUTO else name] = choice
        return choices

    def _measure(self, way: str, runtime: str, start: Start) -> None:
        """Measure what one way has left; a failure becomes a row, and the rest goes on."""
        try:
            self._measure_what_is_left(way, runtime, start)
        except OutOfTime:
            raise
        except Exception as error:  # of a library, or our own: what costs minutes to reach is not lost for the rest
            text = str(error) if isinstance(error, RespinError) else f"{type(error).__name__}: {error}"
            if isinstance(error, ModuleNotFoundError):
                text = f"there is no module '{error.name}'; pip install 'respin[serve]'"
            self._add(self.bench.row(way, runtime, self.usual, 0, math.nan, note=" ".join(text.split())))

    def _measure_what_is_left(self, way: str, runtime: str, start: Start) -> None:
        turns = self._turns_left(way, runtime) if {"engine": "jobs"}.get(way, way) in self.options.measure else []
        networks = self._networks_left(runtime) if way == "engine" and "networks" in self.options.measure else []
        if not turns and not networks:
            self.log(f"{way}, {runtime}: nothing is left to measure")
            return
        reference = self.reference if turns else {}
        self.machine.release_memory()
        self._stop_if_time_is_up()
        with start(self.machine.memory()) as started:
            self.log(f"{way}, {runtime}: ready in {started.ready_s:.1f} s")
            # Networks come last: their batches would count as a job's memory.
            if turns:
                self._run_turns(started, runtime, turns, reference)
            if isinstance(started, InProcessEngine):
                self._measure_networks(runtime, started.networks, networks)
        self.machine.release_memory()

    def _server(self, choice: Choice, taken: GpuMemory) -> AbstractContextManager[Way]:
        # tritonclient and grpc, which a machine that measures in process alone need not have
        from respin_benchmarks.in_process.server import serve  # noqa: PLC0415

        chosen, options = choice.in_process, [("device", self.options.device), ("runtime", choice.in_process.runtime)]
        if self.options.tritonserver:
            options.append(("tritonserver", str(self.options.tritonserver)))
        if chosen.runtime == "torch":
            options.append(("compile" if chosen.compiled else "no-compile", ""))
        if chosen.runtime != "torch" and self.options.models:
            options.append(("models", str(self.options.models)))
        elif chosen.runtime == "torch" and self.checkpoints:
            options.append(("weights", str(self.checkpoints)))
        began_s = self.budget.elapsed_s
        latest_s = began_s + START_SHARE * (self.budget.seconds - began_s)
        return serve(options, taken, lambda: self.budget.elapsed_s > latest_s)

    def _stop_if_time_is_up(self) -> None:
        if self.budget.is_over():
            raise OutOfTime("time is up; run the same command again, it goes on from here")

    def _report(self, step: str) -> None:
        """Print a step of loading, of which compiling takes minutes; raise OutOfTime if it may not begin any more."""
        self.log(step)
        self._stop_if_time_is_up()

    def _add(self, row: JobRun) -> None:
        kept = self.subject.kept(read_rows(self.jobs_file, JobRun), row.way, row.runtime)
        write_rows(self.jobs_file, JobRun, [*kept, row])
        asked = f"{row.sampler} {row.steps}+{row.background_steps}, {row.views} views x {row.jobs}"
        found = f"not measured: {row.note}" if row.note else f"{row.latency_s:.3f} s, {row.images_s:.2f} images/s"
        self.log(f"{row.way}, {row.runtime}: {asked}: {found}")

    def _turns_left(self, way: str, runtime: str) -> list[list[JobKey]]:
        rows = read_rows(self.jobs_file, JobRun)
        return self.subject.keys_left(rows, way, runtime, list(self.cells), self.options.repeats)

    @cached_property
    def script(self) -> tuple[Baseline, GpuMemory]:
        """The baseline, warm, and the memory that it takes."""
        before = self.machine.memory()
        script = Baseline(self.weights, device=self.machine.kind, half=self.machine.precision == "fp16")
        run_baseline(script, replace(self.usual, steps=WARM_UP_STEPS, background_steps=WARM_UP_STEPS))
        memory = self.machine.memory_since(before)
        self.log(f"baseline: warm, {memory.whole} MiB")
        return script, memory

    @cached_property
    def reference(self) -> Mapping[str, bytes]:
        """The baseline's pictures of the usual job, PNG files by name; those of an earlier run of the same code."""
        parts = (self.machine.circumstances.commit, self.subject.weights, self.machine.precision, *self.usual.key)
        folder = self.options.work / "baseline" / re.sub(r"[^\w.-]+", "_", "-".join(map(str, parts)))
        files = {name: folder / f"{name}.png" for name in COMPARED.values()}
        if not all(file.is_file() for file in files.values()):
            made = run_baseline(self.script[0], self.usual)
            folder.mkdir(parents=True, exist_ok=True)
            for name, file in files.items():
                file.write_bytes(png(Image.fromarray(made[name])))
        return {name: file.read_bytes() for name, file in files.items()}

    def _run_turns(
        self, way: Way, runtime: str, turns: Sequence[Sequence[JobKey]], reference: Mapping[str, bytes]
    ) -> None:
        """Bring every shape, then run every cell once, then all again; the baseline beside the engine's usual job.

        Args:
            way: way of doing the jobs.
            runtime: runtime of its networks.
            turns: cells of each repeat.
            reference: see `compare`.
        """
        for cell in self.cells.values():
            self.bench.run_burst(way, replace(cell, steps=WARM_UP_STEPS, background_steps=WARM_UP_STEPS))
            self._stop_if_time_is_up()
        memory, by_process = way.memory()
        known = {**memory.columns(), "memory_by_process": by_process}
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
        return [name for name in wanted if {(name, batch) for batch in BATCHES[name]} - measured]

    def _measure_networks(self, runtime: str, networks: BatchedNetworks, names: Sequence[str]) -> None:
        """Measure single networks."""
        if not names:
            return
        ceilings = self.machine.measure_ceilings()
        self.log(f"at best {ceilings.matmul_tflops:g} TFLOP/s and {ceilings.copy_gb_s:g} GB/s")
        bench = NetworkBench(self.machine, ceilings, self.weights, self.subject.weights, self.options.calls)
        for name in names:
            self._stop_if_time_is_up()
            rows = list(bench.measure(runtime, networks, name))
            others = [
                row
                for row in read_rows(self.networks_file, NetworkRun)
                if (row.network, row.runtime) != (name, runtime)
            ]
            write_rows(self.networks_file, NetworkRun, [*others, *rows])
            self.log(f"{runtime}: {name}: {', '.join(f'{row.best_ms:.2f} ms x {row.batch}' for row in rows)}")
            self.machine.release_memory()
