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
from respin.specs import ModelSpec, TensorSpec
from respin_export.checkpoints import load_network, load_sizes
from respin_export.deviation import Deviation, MeasureDeviations, NamedArrays
from respin_export.example import example_inputs, example_lengths
from respin_export.half_parity import deviations_fp16, inputs_without_amplification
from respin_export.mini.networks import build_seeded
from respin_export.mini.sizes import SIZES as MINI
from respin_export.originals.case import Case, cases_of
from respin_export.originals.grounding_dino import network_with_all_queries
from respin_export.originals.reference import Reference
from respin_export.parity import deviations_fp32, graph_outputs, module_outputs, outputs_by_name, run_graph
from respin_export.report.rows import LINKS, ParityRow
from respin_export.to_onnx import ExportOptions, Precision, export_network
from respin_export.weights.catalogue import choose
from respin_export.weights.synthesize import Synthesizer

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
"""In this order: to compute in float16 changes the module for good."""

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
class Chain:
    """The chain of one network.

    Args:
        network: its name.
        weights: folder of the reduced checkpoints.
        reference: folder of the original's outputs.
    """

    network: str
    weights: Path
    reference: Path

    def __call__(self, on_stage: Callable[[str], None]) -> list[ParityRow]:
        """Measure every link; a task of `run_isolated`."""
        on_stage("loading")
        reference, sizes = Reference(self.reference), load_sizes(self.weights)
        spec = with_lengths(NETWORKS[self.network], dict(reference.contract_lengths(self.network)))
        cases = cases_of(self.network, reference, self.weights)
        on_stage("computing")
        rows = []
        for case in [case for case in cases if case.raw_weights]:
            rows += _module_rows(load_network(self.network, self.weights, raw_weights=True), case)
        module = load_network(self.network, self.weights)
        averaged = [case for case in cases if not case.raw_weights]
        for case in averaged:
            rows += _module_rows(module, case)
        reduced = _Subject(module, spec, sizes, averaged)
        subjects = {"fp32": reduced, "fp16": _mini(self.network) if self.network in MINI_IN_FP16 else reduced}
        probes = {precision: list(_probes(subjects[precision], precision)) for precision in PRECISIONS}
        with TemporaryDirectory() as folder:
            for precision, known in probes.items():
                on_stage(f"exporting {precision}")
                path = Path(folder) / precision / "model.onnx"
                rows += _graph_rows(_Graph(subjects[precision], path, precision), known)
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


@dataclass(frozen=True)
class _Subject:
    """What is exported, with the calls of it whose right answer is known."""

    module: nn.Module
    spec: ModelSpec
    sizes: Sizes
    cases: Sequence[Case]


def _mini(network: str) -> _Subject:
    return _Subject(build_seeded(network_with_all_queries).eval(), NETWORKS[network], MINI, ())


@dataclass(frozen=True)
class _Probe:
    """Inputs and what the module makes of them."""

    name: str
    inputs: NamedArrays
    wanted: NamedArrays


def _probes(subject: _Subject, precision: str) -> Iterator[_Probe]:
    for batch, shares, seed in SHAPES:
        lengths = example_lengths(subject.spec, subject.sizes, shares)
        inputs = example_inputs(subject.spec, subject.sizes, batch=batch, lengths=lengths, seed=seed)
        if precision == "fp16":
            inputs = inputs_without_amplification(inputs)
        name = ", ".join([f"batch {batch}", *(f"{axis} {length}" for axis, length in lengths.items()), f"seed {seed}"])
        yield _Probe(name, inputs, outputs_by_name(subject.spec, module_outputs(subject.module, inputs)))


def _module_rows(module: nn.Module, case: Case) -> list[ParityRow]:
    outputs = case.kept(module_outputs(module, case.inputs))
    return rows_of(case.network, LINKS[0], case.name, lambda: deviations_fp32(case.network, outputs, case.wanted))


@dataclass(frozen=True)
class _Graph:
    """A graph to be written."""

    subject: _Subject
    path: Path
    precision: Precision

    def write(self) -> None:
        """Export it; in float16 the module is another afterwards."""
        options = ExportOptions(precision=self.precision)
        export_network(self.subject.module, self.subject.spec, self.subject.sizes, self.path, options)


def _graph_rows(graph: _Graph, probes: Sequence[_Probe]) -> Iterator[ParityRow]:
    network, link = graph.subject.spec.name, f"module → ONNX {graph.precision.upper()}"
    measure: MeasureDeviations = deviations_fp16 if graph.precision == "fp16" else deviations_fp32
    try:
        graph.write()
    except RespinError as error:
        yield ParityRow.failed(network, link, "export", str(error))
        return
    for case in graph.subject.cases:
        if graph.precision == "fp16" and _amplifies(case):
            continue
        from_original = link.replace("module", "original")
        yield from rows_of(network, from_original, case.name, partial(_from_original, graph, case, measure))
    for probe in probes:
        yield from rows_of(network, link, probe.name, partial(_from_module, graph, probe, measure))


def _amplifies(case: Case) -> bool:
    """Whether guidance multiplies the network's rounding errors in this case: see `inputs_without_amplification`."""
    guidance = case.inputs.get("guidance")
    return guidance is not None and bool((guidance > 1).any())


def _from_original(graph: _Graph, case: Case, measure: MeasureDeviations) -> list[Deviation]:
    # The originals' inputs may be smaller than the contract's.
    outputs = run_graph(graph.path, graph.subject.spec, case.inputs)
    return measure(graph.subject.spec.name, case.kept(outputs), case.wanted)


def _from_module(graph: _Graph, probe: _Probe, measure: MeasureDeviations) -> list[Deviation]:
    return measure(graph.subject.spec.name, graph_outputs(graph.path, graph.subject.spec, probe.inputs), probe.wanted)


def rows_of(network: str, link: str, case: str, measure: Callable[[], list[Deviation]]) -> list[ParityRow]:
    """Measure, and keep the refusal where there is nothing to measure.

    Args:
        network: its name.
        link: of `LINKS`.
        case: which inputs.
        measure: the deviations, or a refusal.
    """
    try:
        return [
            ParityRow(network, link, case, each.output, each.error, each.allowed, each.measure) for each in measure()
        ]
    except RespinError as error:
        return [ParityRow.failed(network, link, case, str(error))]
