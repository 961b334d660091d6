"""The chain from a published layout to a written file, link by link, at reduced size.

    checkpoint in its original layout -> the original's outputs -> our module -> ONNX FP32 -> ONNX FP16

Each network in a process of its own. The first links are measured on the inputs that the original ran on, the others on
inputs of other seeds, batches and lengths than were traced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import Progress
from torch import nn

from respin.contracts import NETWORKS
from respin.errors import RespinError
from respin.model_set import Sizes
from respin.runtimes import Precision
from respin.specs import Array, ModelSpec, TensorSpec
from respin_export.checkpoints import load_network, load_sizes
from respin_export.deviation import MeasureDeviations
from respin_export.example import example_inputs, example_lengths
from respin_export.half_parity import deviations_fp16, inputs_without_amplification
from respin_export.mini.networks import build_seeded
from respin_export.mini.sizes import SIZES as MINI
from respin_export.originals.case import Case, cases_of
from respin_export.originals.grounding_dino import network_with_all_queries
from respin_export.originals.reference import Reference
from respin_export.parity import deviations_fp32, graph_outputs, module_outputs, outputs_by_name, run_graph
from respin_export.report.rows import LINKS, ParityRow
from respin_export.to_onnx import ExportOptions, export_network
from respin_export.weights.catalogue import choose
from respin_export.weights.synthesize import Synthesizer

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
"""Precisions in the order of their exports: the one in float16 changes the module for good."""

SHAPES = ((1, (0.4, 0.3), 1), (3, (0.21, 0.2), 2), (4, (0.3, 0.16), 3))
"""Batch, shares of the way from least to usual length, seed; what is traced is a batch of 2 at (0.3, 0.5). No side of
GroundingDINO's is beyond 400 px: see `respin_export.to_onnx.CALM_SHARES`."""

MINI_IN_FP16 = ("grounding_dino",)
"""Measured with the mini set's network in float16: the reduced reference has 40 candidates, of which rounding makes one
or two others, and 98 % of 40 are all of them; the mini one has 900."""


def write_reduced_weights(weights: Path, reference: Path, on_stage: Callable[[str], None]) -> None:
    """Write the checkpoints of the chain: the four of a reference folder, and inpainting's, the library's own.

    Args:
        weights: the weights folder to make.
        reference: folder of the original's outputs.
        on_stage: callback of a task of `run_isolated`.
    """
    on_stage("writing weights")
    Synthesizer(weights, "mini", 0, Progress(disable=True)).write([choose("inpaint")])
    Reference(reference).write_weights(weights)


@dataclass(frozen=True)
class _Subject:
    """A network that is exported, with its contract and its image sizes."""

    module: nn.Module
    spec: ModelSpec
    sizes: Sizes


def measure_chain(network: str, weights: Path, reference: Path, on_stage: Callable[[str], None]) -> list[ParityRow]:
    """Measure every link of one network.

    Args:
        network: its name.
        weights: folder of the reduced checkpoints.
        reference: folder of the original's outputs.
        on_stage: callback of a task of `run_isolated`.
    """
    on_stage("loading")
    originals = Reference(reference)
    cases = cases_of(network, originals, weights)
    on_stage("computing")
    rows: list[ParityRow] = []
    for case in cases:
        module = load_network(network, weights, raw_weights=case.raw_weights)
        rows += _rows(LINKS[0], case, partial(module_outputs, module, case.inputs), deviations_fp32)
    spec = with_lengths(NETWORKS[network], dict(originals.contract_lengths(network)))
    reduced = _Subject(load_network(network, weights), spec, load_sizes(weights))
    averaged = [case for case in cases if not case.raw_weights]
    exported = {"fp32": (reduced, averaged), "fp16": (reduced, [case for case in averaged if not _amplifies(case)])}
    if network in MINI_IN_FP16:
        exported["fp16"] = (_Subject(build_seeded(network_with_all_queries).eval(), NETWORKS[network], MINI), [])
    # Before the first export, which changes the module for good.
    probes = {precision: _probes(exported[precision][0], precision) for precision in PRECISIONS}
    with TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            on_stage(f"exporting {precision}")
            path = Path(folder) / precision / "model.onnx"
            rows += _graph_rows(path, precision, *exported[precision], probes[precision])
    return rows


def with_lengths(spec: ModelSpec, lengths: Mapping[int, int]) -> ModelSpec:
    """A contract whose fixed lengths are those of a reduced network.

    Args:
        spec: the contract.
        lengths: the contract's length -> the network's; what is not here stays.
    """

    def fitted(tensor: TensorSpec) -> TensorSpec:
        shape = (lengths.get(length, length) if isinstance(length, int) else length for length in tensor.shape)
        return replace(tensor, shape=tuple(shape))

    return replace(spec, inputs=tuple(map(fitted, spec.inputs)), outputs=tuple(map(fitted, spec.outputs)))


def _probes(subject: _Subject, precision: str) -> list[Case]:
    """Return calls of a module on inputs of several shapes and seeds, with what it computes."""
    probes = []
    for batch, shares, seed in SHAPES:
        lengths = example_lengths(subject.spec, subject.sizes, shares)
        inputs = example_inputs(subject.spec, subject.sizes, batch=batch, lengths=lengths, seed=seed)
        if precision == "fp16":
            inputs = inputs_without_amplification(inputs)
        name = ", ".join([f"batch {batch}", *(f"{axis} {length}" for axis, length in lengths.items()), f"seed {seed}"])
        wanted = outputs_by_name(subject.spec, module_outputs(subject.module, inputs))
        probes.append(Case(subject.spec.name, name, inputs, wanted))
    return probes


def _graph_rows(
    path: Path, precision: Precision, subject: _Subject, cases: Sequence[Case], probes: Sequence[Case]
) -> Iterator[ParityRow]:
    """Export a network, and compare the file with the original and with the module."""
    spec, link = subject.spec, f"module → ONNX {precision.upper()}"
    measure: MeasureDeviations = deviations_fp16 if precision == "fp16" else deviations_fp32
    try:
        export_network(subject.module, spec, subject.sizes, path, ExportOptions(precision=precision))
    except RespinError as error:
        yield ParityRow.failed(spec.name, link, "export", str(error))
        return
    for case in cases:
        # The originals' inputs may be smaller than the contract's.
        run = partial(run_graph, path, spec, case.inputs)
        yield from _rows(link.replace("module", "original"), case, run, measure)
    for probe in probes:
        yield from _rows(link, probe, partial(graph_outputs, path, spec, probe.inputs), measure)


def _amplifies(case: Case) -> bool:
    """Whether guidance multiplies the network's rounding errors in this case: see `inputs_without_amplification`."""
    guidance = case.inputs.get("guidance")
    return guidance is not None and bool((guidance > 1).any())


def _rows(link: str, case: Case, run: Callable[[], Sequence[Array]], measure: MeasureDeviations) -> list[ParityRow]:
    """Run a network on a case and measure its outputs; a refusal becomes a row that says why."""
    try:
        deviations = measure(case.network, case.kept(run()), case.wanted)
    except RespinError as error:
        return [ParityRow.failed(case.network, link, case.name, str(error))]
    return [
        ParityRow(case.network, link, case.name, each.output, each.error, each.allowed, each.measure)
        for each in deviations
    ]
