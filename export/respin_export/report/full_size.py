"""Export all networks at their published sizes, build their engines, and measure what that takes.

The weights are `respin weights synthesize --size full`: random, in the layouts of the published files. Each network is
exported in FP32 and in FP16, every file compared with the module that it was made from, and its FP16 file built into a
TensorRT-RTX engine; each step in a process of its own. What is done is kept: run the same command again after an
interruption. Files of a network go as soon as it is measured, the whole work folder at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from respin.contracts import NETWORKS
from respin.errors import ContractMismatch
from respin.model_set import ModelSet, NetworkFile
from respin.report.circumstances import core_count, cpu_name, today, versions_text
from respin.report.markdown import check_section, write_section
from respin.report.rows import read_rows, write_rows
from respin_export.export_set import ExportPlan, export_set
from respin_export.isolated import TaskDone, TaskEvent, TaskFailed, TaskRunner, run_isolated
from respin_export.published import PublishedWeights
from respin_export.report.page import full_size_text
from respin_export.report.rows import LIMIT_MIB, STEPS, Cost
from respin_export.tensorrt.engine_set import Build, EngineOptions, build_engines
from respin_export.tensorrt.flavours import Library
from respin_export.tensorrt.process import build_in_own_process
from respin_export.weights.catalogue import CATALOGUE, Chosen, choose
from respin_export.weights.verify import SYNTHESIZED

PACKAGES = ("torch", "transformers", "diffusers", "onnx", "onnxscript", "onnxruntime", "tensorrt-rtx-cu13")

SEED = 0
"""Of the weights."""

UNGATED = (("grounding_dino", "fp32"), ("grounding_dino", "fp16"))
"""Measured and not refused. With random weights of the published depth GroundingDINO ranks its candidates by noise: its
module in float32 differs from itself in float64 by 1.6e-4 to 6.9e-4 (99 % of (box, score); by the kernels of the
convolutions), ten times the gate. Its gates are those of `respin parity`."""

SECTION = "full size"

MIB = 2**20


@dataclass(frozen=True)
class FullSize:
    """A measurement of all networks, begun or to be gone on with.

    Args:
        work: folder for weights, graphs and engines; up to 40 GB.
        networks: by name.
        size: of the weights; "full", but for a trial of this very code.
        tell: shown each sentence on what is done.
        run: what runs weights and exports.
        build: what builds engines.
    """

    work: Path
    networks: Sequence[str] = tuple(NETWORKS)
    size: str = "full"
    tell: Callable[[str], None] = lambda _: None
    run: TaskRunner = run_isolated
    build: Build = build_in_own_process

    @property
    def results(self) -> Path:
        """The rows so far."""
        return self.work / "results.csv"

    @property
    def weights(self) -> Path:
        """The synthesized checkpoints."""
        return self.work / "weights"

    def measure(self) -> list[Cost]:
        """Do what is not done yet.

        Returns:
            the rows of all steps, in order.
        """
        versions = versions_text(PACKAGES)
        # Another day is no reason to measure again, other tools are.
        done = {
            (row.network, row.step): row
            for row in read_rows(self.results, Cost)
            if row.versions == versions and not row.failure
        }
        for network, step in self._steps():
            if (network, step) in done:
                self.tell(f"{network} {step}: measured before")
                continue
            busy = round(os.getloadavg()[0], 2)
            cost = replace(self._step(network, step, versions), busy=busy)
            done[network, step] = cost
            write_rows(self.results, Cost, done.values())
            self.tell(sentence(cost))
            if step == STEPS[-1]:
                self._drop(network)
        return [done[each] for each in self._steps()]

    def _steps(self) -> Iterable[tuple[str, str]]:
        yield "weights", "weights"
        for network in self.networks:
            yield from ((network, step) for step in STEPS)

    def _step(self, network: str, step: str, versions: str) -> Cost:
        nothing = Cost(network, step, 0, 0, 0, "", "", math.nan, 0, today(), cpu_name(), core_count(), versions)
        if step == "weights":
            return self._synthesized(nothing)
        return self._engine(nothing) if step == "engine" else self._export(nothing)

    def _synthesized(self, cost: Cost) -> Cost:
        task = partial(synthesize_missing, self.weights, self.size)
        for event in self.run({"weights": task}, 1):
            cost = _ended(cost, event)
        size = sum(file.stat().st_size for file in self.weights.rglob("*") if file.is_file())
        return replace(cost, file_mib=round(size / MIB, 1))

    def _export(self, cost: Cost) -> Cost:
        source = PublishedWeights(self.weights)
        plan = ExportPlan(
            self.work / cost.step,
            f"full-{cost.step}",
            source.sizes,
            [cost.network],
            source,
            {"precision": cost.step},
            ungated=[cost.network] if (cost.network, cost.step) in UNGATED else [],
        )
        ends: list[TaskDone | TaskFailed] = []
        failed = export_set(plan, lambda event: ends.append(event) if isinstance(event, TaskDone) else None, self.run)
        for event in [*ends, *failed]:
            cost = _ended(cost, event)
        if failed:
            return cost
        made = ModelSet.load(plan.folder)
        errors = made.origin["parity"][cost.network]
        text = "; ".join(f"{output} {error:.1e}" for output, error in errors.items())
        return replace(cost, errors=text, file_mib=_mib(made.networks[cost.network]))

    def _engine(self, cost: Cost) -> Cost:
        options = EngineOptions(Library.installed("tensorrt_rtx"))
        graphs, engines = self.work / "fp16", self.work / "engines"
        try:
            report = build_engines(graphs, engines, options, networks=[cost.network], build=self.build)
        except ContractMismatch as missing:  # the graph was not exported
            return replace(cost, failure=str(missing))
        if error := report.failed.get(cost.network):
            return replace(cost, failure=str(error))
        record = {**report.built, **report.kept}[cost.network]
        return replace(
            cost,
            wall_s=record.build_s,
            peak_rss_mib=record.peak_rss_bytes // MIB,
            file_mib=round(record.size_bytes / MIB, 1),
            scratch_mib=math.nan if record.scratch_bytes is None else round(record.scratch_bytes / MIB, 1),
        )

    def _drop(self, network: str) -> None:
        for folder in ("fp32", "fp16", "engines"):
            shutil.rmtree(self.work / folder / network, ignore_errors=True)


def synthesize_missing(folder: Path, size: str, on_stage: Callable[[str], None]) -> None:
    """Write the checkpoints that a weights folder lacks; runs in a process of its own.

    Args:
        folder: of the weights.
        size: "mini" or "full".
        on_stage: of a task of `run_isolated`.
    """
    from respin_export.weights.synthesize import Synthesizer  # noqa: PLC0415 (torch)

    marker = folder / SYNTHESIZED
    same = marker.is_file() and json.loads(marker.read_text()) == {"size": size, "seed": SEED}
    missing = [chosen for chosen in map(choose, CATALOGUE) if not (same and _is_whole(chosen, folder))]
    if missing:
        on_stage("writing")
        progress = Progress(console=Console(stderr=True), disable=True)
        Synthesizer(folder, size, SEED, progress).write(missing)  # type: ignore[arg-type]


def _is_whole(chosen: Chosen, folder: Path) -> bool:
    files = [file.path for file in chosen.variant.files if file.is_weights]
    return all((folder / chosen.checkpoint.name / path).is_file() for path in files)


def _ended(cost: Cost, event: TaskEvent) -> Cost:
    if isinstance(event, TaskDone):
        return replace(cost, wall_s=event.wall_s, peak_rss_mib=event.peak_rss_mib)
    return replace(cost, failure=str(event.error)) if isinstance(event, TaskFailed) else cost


def _mib(files: Iterable[NetworkFile]) -> float:
    return round(sum(file.size_bytes for file in files) / MIB, 1)


def sentence(cost: Cost) -> str:
    """What to say of a step that is done."""
    if cost.failure:
        return f"{cost.network} {cost.step}: {cost.failure}"
    compared = f"; errors: {cost.errors}" if cost.errors else ""
    scratch = "" if math.isnan(cost.scratch_mib) else f", {cost.scratch_mib:.0f} MiB of GPU scratch"
    return (
        f"{cost.network} {cost.step}: {cost.wall_s:.0f} s, {cost.peak_rss_mib} MiB of memory, "
        f"{cost.file_mib:.0f} MiB written{scratch}{compared}"
    )


def main() -> None:
    """Measure, write the results and their section of the page."""
    parser = argparse.ArgumentParser(
        prog="python -m respin_export.report.full_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, default=Path("build/parity-full"), help="up to 40 GB; removed at the end")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/parity_full.csv"))
    parser.add_argument("--page", type=Path, default=Path("docs/parity.md"), help="its section is written again")
    options = parser.parse_args()
    check_section(options.page, SECTION)
    costs = FullSize(options.work, tell=lambda text: print(time.strftime("%H:%M:%S"), text, flush=True)).measure()
    write_rows(options.output, Cost, costs)
    write_section(options.page, SECTION, full_size_text(costs))
    if broken := [cost for cost in costs if not cost.passes]:
        sys.exit(
            f"{len(broken)} of {len(costs)} steps failed or took more than {LIMIT_MIB} MiB: "
            f"{sentence(broken[0])}; what went well is kept: run the same command again"
        )
    shutil.rmtree(options.work)


if __name__ == "__main__":
    main()
