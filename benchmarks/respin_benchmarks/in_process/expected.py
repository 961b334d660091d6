"""The time of a job on two cards, from counted arithmetic and the share of its limit that each network reached.

That share was measured on an H200 (`make bench-gpu`); it is assumed on the other card and at all shapes of a job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from respin.contracts import NETWORKS
from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.lengths import lengths_in_jobs
from respin.report.circumstances import Circumstances
from respin.report.markdown import table
from respin.report.rows import read_rows
from respin_benchmarks.gpu import MIB
from respin_benchmarks.gpu_memory import modules_without_values
from respin_benchmarks.in_process.page import networks_file
from respin_benchmarks.in_process.rows import NetworkRun
from respin_benchmarks.options import ExpectedOptions
from respin_benchmarks.runner import PageReport, collect, run_benchmark
from respin_ensemble.networks.in_process import blank_inputs
from respin_ensemble.networks.torch_graph import as_list
from respin_ensemble.sampling.noise_schedules import zero123_schedule

FILE = "call_counts.csv"
STEPS = ((75, 50), (20, 20))
"""Denoising steps of both UNets, by DDIM."""

TWICE = ("sam_encoder", "sam_decoder")
"""Networks that a job with one view and a given box calls for the photo and for the view."""


@dataclass(frozen=True)
class Card:
    """A GPU's published peaks."""

    name: str
    tflops: float  # dense float16 with float32 accumulation, tensor cores
    gb_s: float  # of memory

    def limit_ms(self, gflop: float, mib: float) -> float:
        """Return the least time of so much arithmetic on so many bytes, ms."""
        return max(gflop / self.tflops, mib * MIB / self.gb_s / 1e6)


CARDS = H200, A6000 = Card("H200", 989.5, 4800.0), Card("RTX A6000", 154.8, 768.0)


@dataclass(frozen=True, kw_only=True)
class CallCount(Circumstances):
    """A call that a job makes, at one shape."""

    network: str  # its name
    shapes: str  # of its inputs, with the batch
    gflop: float  # counted (2 x multiply-add)
    least_mib: float  # weights in float16, inputs and outputs, each moved once

    def calls(self, steps: int, background_steps: int) -> int:
        """Return how often a job makes it."""
        unets = {ZERO123_UNET.name: len(zero123_schedule(steps)), INPAINT_UNET.name: background_steps}
        return unets.get(self.network, 2 if self.network in TWICE else 1)


def count_calls() -> Iterator[CallCount]:
    """Count arithmetic and bytes of every call of a job at full size, as those of a row are counted."""
    here = Circumstances.now(("torch", "diffusers", "transformers"), "counted, on no device")
    for name, module, sizes in modules_without_values("full"):
        # The box is given: GroundingDINO looks for the object in the view alone.
        shapes = lengths_in_jobs(name, sizes)[-1 if name == "grounding_dino" else 0 :]
        weights_bytes = sum(tensor.nbytes for tensor in module.parameters()) / 2
        for lengths in shapes:
            arrays = blank_inputs(NETWORKS[name], sizes, 2 if name == "clip_text" else 1, lengths)
            inputs = {key: torch.from_numpy(array).to("meta") for key, array in arrays.items()}
            counter = FlopCounterMode(display=False)
            with torch.inference_mode(), torch.device("meta"), counter:
                outputs = as_list(module(**inputs))
            moved = weights_bytes + sum(tensor.nbytes for tensor in (*inputs.values(), *outputs))
            yield CallCount(
                **vars(here),
                network=name,
                shapes=" ".join("x".join(map(str, array.shape)) for array in arrays.values()),
                gflop=round(counter.get_total_flops() / 1e9, 3),
                least_mib=round(moved / MIB, 3),
            )


def shares_of(runs: Sequence[NetworkRun]) -> dict[str, dict[str, float]]:
    """Return the share of the H200's limit that each network reached with its smallest batch, by runtime."""
    shares: dict[str, dict[str, float]] = {}
    for run in sorted(runs, key=lambda run: -run.batch):
        shares.setdefault(run.runtime, {})[run.network] = H200.limit_ms(run.gflop, run.least_mib) / run.best_ms
    return shares


def page_of(counts: Sequence[CallCount], runs: Sequence[NetworkRun]) -> str:
    """Return the section; empty without counts or runs on an H200."""
    shares = shares_of([run for run in runs if H200.name in run.machine])
    if not counts or not shares:
        return ""
    titles = ["network", "shapes", *(f"calls at {steps} + {more}" for steps, more in STEPS), "GFLOP", "MiB"]
    titles += [f"{title}, {each}" for each in shares for title in ("share", *(f"{card.name} ms" for card in CARDS))]
    rows = []
    for count in counts:
        called = [f"{count.calls(*steps)}" for steps in STEPS]
        cells = [f"`{count.network}`", count.shapes.split()[0], *called, f"{count.gflop:.4g}", f"{count.least_mib:.4g}"]
        for share in (reached[count.network] for reached in shares.values()):
            limits_ms = [card.limit_ms(count.gflop, count.least_mib) for card in CARDS]
            cells += [f"{share:.1%}", *(f"{limit_ms / share:.2f}" for limit_ms in limits_ms)]
        rows.append(cells)
    jobs = [row for steps in STEPS for row in _jobs(counts, shares, *steps)]
    lines = [
        f"Arithmetic counted at commit {counts[0].commit} with {counts[0].versions}; shares of {runs[0].machine}.",
        "",
        *table(titles, rows),
        "",
        "The calls of one job, one after the other:",
        "",
        *table(["steps", "TFLOP", "", *(f"{card.name}, s" for card in CARDS)], jobs),
    ]
    return "\n".join(lines) + "\n"


def _jobs(
    counts: Sequence[CallCount], shares: Mapping[str, Mapping[str, float]], steps: int, more: int
) -> Iterator[list[str]]:
    """Yield the rows of a job: the least time that its arithmetic takes, and what is expected by each runtime."""
    calls = [(count, count.calls(steps, more)) for count in counts]
    tflop = sum(count.gflop * number for count, number in calls) / 1e3
    job = [f"{steps} + {more}", f"{tflop:.1f}"]
    yield [*job, "all at the peak", *(f"{tflop / card.tflops:.3f}" for card in CARDS)]
    for runtime, reached in shares.items():
        times_ms = (
            sum(n * card.limit_ms(count.gflop, count.least_mib) / reached[count.network] for count, n in calls)
            for card in CARDS
        )
        yield [*job, runtime, *(f"{each / 1e3:.2f}" for each in times_ms)]


def _text_of(results: Path) -> str:
    return page_of(read_rows(results / FILE, CallCount), read_rows(networks_file(results, "cuda"), NetworkRun))


EXPECTED = PageReport("expected times", _text_of)


def run(options: ExpectedOptions) -> None:
    """Count, and write the section."""
    run_benchmark(EXPECTED, lambda: collect(options.results / FILE, CallCount, count_calls(), 12), options)
