"""Measure the ten networks and whole jobs in this process, without a server, and write the page again.

On a GPU: full-size networks with seeded random weights in FP16, since speed and memory do not depend on the values. On
a CPU: the mini set in FP32, so that the same path is walked. Rows are kept as they come: run the same command again
after an interruption, or when --budget-s is over.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from respin.contracts import NETWORKS
from respin.errors import InvalidInput, RespinError
from respin_benchmarks.baseline.pipeline import Baseline
from respin_benchmarks.circumstances import noted
from respin_benchmarks.counts import count
from respin_benchmarks.in_process.house import House
from respin_benchmarks.in_process.job_runs import Cell, Jobs, interleaved, released, usual_cells, warmed
from respin_benchmarks.in_process.machine import NO_MEMORY, Machine, Memory
from respin_benchmarks.in_process.network_runs import Bench, rows_by_key, trials
from respin_benchmarks.in_process.report import (
    intervals_file,
    jobs_file,
    networks_file,
    section_name,
    text_of,
    write_report,
)
from respin_benchmarks.in_process.rows import Interval, JobRun, NetworkRun
from respin_benchmarks.in_process.runtimes import RUNTIMES, OutOfTime, default_runtimes, open_networks
from respin_benchmarks.in_process.weights import Kind, Weights, weights_of
from respin_benchmarks.served.report import LOAD
from respin_benchmarks.served.report import write_report as write_served
from respin_ensemble.networks import BatchedNetworks
from respin_export.report.page import check_section
from respin_export.report.table import read_rows, write_rows

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
        self.networks_file = networks_file(self.options.results, self.options.label)
        self.jobs_file = jobs_file(self.options.results, self.options.label)
        self.open: dict[str, BatchedNetworks] = {}

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
        # Jobs first: graphs of single networks, in batches that no job brings, would count as a job's memory.
        if "jobs" in self.options.measure and not self.time_is_up():
            self._jobs(weights)
        if "networks" in self.options.measure and not self.time_is_up():
            self._networks(weights)
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

    def _networks(self, weights: Weights) -> None:
        dtype = torch.float16 if self.half else torch.float32
        ceilings = self.machine.ceilings(dtype)
        self.tell(f"at best {ceilings.matmul_tflops:g} TFLOP/s and {ceilings.copy_gb_s:g} GB/s")
        bench = Bench(self.machine, ceilings, self.half, WORDS[self.options.weights], self.options.calls)
        done = rows_by_key(read_rows(self.networks_file, NetworkRun))
        for name in NETWORKS:
            left = [runtime for runtime in self.options.runtimes if not self._measured(done, runtime, name)]
            if self.time_is_up() or not left:
                continue
            # A network at a time, unless whole jobs have opened all: at full size three runtimes fill a machine.
            ways = {runtime: self.open.get(runtime) or self._load(runtime, weights, [name]) for runtime in left}
            largest = self.options.largest_batch
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

    def _measured(self, done: dict[tuple[str, str, str, int], NetworkRun], runtime: str, name: str) -> bool:
        mine = [row for key, row in done.items() if key[:3] == (name, runtime, self.options.precision)]
        return any(row.versions == self.machine.versions and row.machine == self.machine.name for row in mine)

    def _cold(self) -> None:
        jobs = Jobs(self.machine, WORDS[self.options.weights], self.half)
        cell = Cell(steps=self.options.steps, background_steps=self.options.background_steps)
        rows = read_rows(self.jobs_file, JobRun)
        for repeat in range(self.options.cold_starts):
            rows.append(jobs.cold(cell, self.options.weights, self.options.work, repeat=repeat))
            write_rows(self.jobs_file, JobRun, rows)
            self.tell(f"cold baseline: {rows[-1].latency_s:.1f} s")

    def _jobs(self, weights: Weights) -> None:
        cells = usual_cells(
            steps=self.options.steps,
            background_steps=self.options.background_steps,
            few=self.options.few_steps,
            views=self.options.views,
            most_jobs=self.options.most_jobs,
        )
        houses: dict[str, House] = {}
        memory: dict[str, Memory] = {}
        for runtime in self.options.runtimes:
            before = self.machine.memory()
            networks = self._opened(runtime, weights)
            houses[runtime], there = warmed(networks, cells, self.machine)
            memory[runtime] = there if len(self.open) == 1 else there - before
            self.tell(f"{runtime}: warm, {memory[runtime]}{self.machine.parts()}")
        before = self.machine.memory()
        script = Baseline(weights, device=self.machine.kind, half=self.half)
        jobs = Jobs(self.machine, WORDS[self.options.weights], self.half)
        jobs.baseline(script, Cell(steps=4, background_steps=4), memory=NO_MEMORY, repeat=0)
        memory["baseline"] = self.machine.memory() - before
        self.tell(f"baseline: warm, {memory['baseline']}")
        self._bursts(jobs, cells, script, houses, memory)
        for house in houses.values():
            house.__exit__(None, None, None)

    def _bursts(
        self, jobs: Jobs, cells: list[Cell], script: Baseline, houses: dict[str, House], memory: dict[str, Memory]
    ) -> None:
        rows = read_rows(self.jobs_file, JobRun)
        earlier = 1 + max((row.repeat for row in rows), default=-1)
        for repeat, cell, way in interleaved(cells, {"baseline": script, **houses}, self.options.repeats):
            if self.time_is_up():
                return
            if way == "baseline":
                if not cell.compared:
                    last = None
                    continue
                row, last = jobs.baseline(script, cell, memory=memory[way], repeat=earlier + repeat)
            else:
                row, intervals = jobs.engine(
                    houses[way], way, cell, memory=memory[way], repeat=earlier + repeat, baseline=last
                )
                if cell == cells[0]:
                    write_rows(intervals_file(self.options.results, self.options.label, way), Interval, intervals)
            rows.append(row)
            write_rows(self.jobs_file, JobRun, rows)
            self.tell(
                f"{way}: {cell.sampler} {cell.steps}+{cell.background_steps}, {cell.views} views x {cell.jobs}: "
                f"{row.latency_s:.3f} s, {row.images_s:.2f} images/s, busy {row.zero123_busy} {row.inpaint_busy}, "
                f"PSNR {row.psnr_view_db} {row.psnr_background_db}, {row.joules} J"
            )


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="python -m respin_benchmarks.in_process",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--weights", choices=("set", "mini", "full"), help="default: full on a GPU, set on a CPU")
    made.add_argument("--precision", choices=("fp32", "fp16"), help="default: fp16 on a GPU, fp32 on a CPU")
    made.add_argument("--runtimes", nargs="+", choices=RUNTIMES, metavar="NAME", help=f"of {', '.join(RUNTIMES)}")
    made.add_argument(
        "--measure",
        nargs="*",
        choices=("networks", "cold", "jobs"),
        default=["networks", "cold", "jobs"],
        help="what to measure; nothing: the page is written from the files (default: all)",
    )
    made.add_argument("--calls", type=count, default=30, help="timed, of each network (default: %(default)s)")
    made.add_argument("--repeats", type=count, default=5, help="of every job, interleaved (default: %(default)s)")
    made.add_argument("--steps", type=int, default=75, help="of Zero123 (default: %(default)s)")
    made.add_argument("--background-steps", type=int, default=50, help="of the inpainting (default: %(default)s)")
    made.add_argument("--few-steps", type=int, default=20, help="of both, with UniPC (default: %(default)s)")
    made.add_argument("--cold-starts", type=int, default=3, help="of the baseline (default: %(default)s)")
    made.add_argument("--views", type=count, default=12, help="of a job with many (default: %(default)s)")
    made.add_argument("--most-jobs", type=count, default=8, help="at the same time (default: %(default)s)")
    made.add_argument("--largest-batch", type=count, default=8, help="of single networks (default: %(default)s)")
    made.add_argument("--budget-s", type=float, default=float("inf"), help="after which nothing new begins")
    made.add_argument("--work", type=Path, default=Path("build/in-process"), help="for weights and graphs")
    made.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="folder of the CSV files")
    made.add_argument("--page", type=Path, help="its section on the device is written again, e.g. docs/benchmarks.md")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure; 1 if something could not be."""
    options = parser().parse_args(arguments)
    on_gpu = options.device == "cuda"
    options.weights = options.weights or ("full" if on_gpu else "set")
    options.precision = options.precision or ("fp16" if on_gpu else "fp32")
    # Full size on a CPU has a section of its own: nobody serves it so.
    options.label = "cpu_full" if (options.device, options.weights) == ("cpu", "full") else options.device
    try:
        options.runtimes = options.runtimes or default_runtimes(options.device)
        if options.page:
            check_section(options.page, section_name(options.label))
        if options.measure:
            files = [files_of(options.results, options.label) for files_of in (jobs_file, networks_file)]
            session = Session(options)
            # Rows of earlier runs stay: a run that was ended goes on.
            with noted(section_name(options.label), files, anew=False):
                session.run()
            print(text_of(options.results, options.label))
        if options.page:
            write_report(options.results, options.label, options.page)
            if (options.results / LOAD).is_file():  # what is said of the server quotes the script's memory
                with suppress(InvalidInput):  # somebody's own page may lack that section
                    write_served(options.results, options.page)
    except RespinError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
