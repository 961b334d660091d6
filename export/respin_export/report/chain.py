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

from torch import nn

from respin.contracts import NETWORKS
from respin.errors import RespinError
from respin.model_set import Sizes
from respin.specs import ModelSpec, TensorSpec
from respin_export.checkpoints import load_network, sizes_of
from respin_export.deviation import Deviation, Measurement, NamedArrays
from respin_export.example import example_inputs, example_lengths
from respin_export.half_parity import deviations_fp16, inputs_without_amplification
from respin_export.originals.case import Case
from respin_export.originals.cases import cases_of
from respin_export.originals.reference import Reference
from respin_export.parity import deviations_fp32, graph_outputs, module_outputs, named, run_graph
from respin_export.report.rows import LINKS, Row
from respin_export.to_onnx import ExportOptions, Precision, export_network

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
"""In this order: to compute in float16 changes the module for good."""

SHAPES = ((1, (0.5, 0.3), 1), (3, (0.1, 0.2), 2), (4, (0.21, 0.06), 3))
"""Batch, shares of the way from least to usual length, seed; what is traced is a batch of 2 at (0.3, 0.5)."""


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

    def __call__(self, on_stage: Callable[[str], None]) -> list[Row]:
        """Measure every link; a task of `run_isolated`."""
        on_stage("loading")
        reference, sizes = Reference(self.reference), sizes_of(self.weights)
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
        probes = {precision: list(_probes(module, spec, sizes, precision)) for precision in PRECISIONS}
        with TemporaryDirectory() as folder:
            for precision, known in probes.items():
                on_stage(f"exporting {precision}")
                graph = Path(folder) / precision / "model.onnx"
                rows += _graph_rows(_Graph(module, spec, sizes, graph, precision), averaged, known)
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
class _Probe:
    """Inputs and what the module makes of them."""

    name: str
    inputs: NamedArrays
    wanted: NamedArrays


def _probes(module: nn.Module, spec: ModelSpec, sizes: Sizes, precision: str) -> Iterator[_Probe]:
    for batch, shares, seed in SHAPES:
        lengths = example_lengths(spec, sizes, shares)
        inputs = example_inputs(spec, sizes, batch=batch, lengths=lengths, seed=seed)
        if precision == "fp16":
            inputs = inputs_without_amplification(inputs)
        name = ", ".join([f"batch {batch}", *(f"{axis} {length}" for axis, length in lengths.items()), f"seed {seed}"])
        yield _Probe(name, inputs, named(spec, module_outputs(module, inputs)))


def _module_rows(module: nn.Module, case: Case) -> list[Row]:
    outputs = case.kept(module_outputs(module, case.inputs))
    return rows_of(case.network, LINKS[0], case.name, lambda: deviations_fp32(case.network, outputs, case.wanted))


@dataclass(frozen=True)
class _Graph:
    """A graph to be written."""

    module: nn.Module
    spec: ModelSpec
    sizes: Sizes
    path: Path
    precision: Precision

    def write(self) -> None:
        """Export it; in float16 the module is another afterwards."""
        export_network(self.module, self.spec, self.sizes, self.path, ExportOptions(precision=self.precision))


def _graph_rows(graph: _Graph, cases: Sequence[Case], probes: Sequence[_Probe]) -> Iterator[Row]:
    network, link = graph.spec.name, f"module → ONNX {graph.precision.upper()}"
    measure: Measurement = deviations_fp16 if graph.precision == "fp16" else deviations_fp32
    try:
        graph.write()
    except RespinError as error:
        yield Row.failed(network, link, "export", str(error))
        return
    for case in cases:
        from_original = link.replace("module", "original")
        yield from rows_of(network, from_original, case.name, partial(_from_original, graph, case, measure))
    for probe in probes:
        yield from rows_of(network, link, probe.name, partial(_from_module, graph, probe, measure))


def _from_original(graph: _Graph, case: Case, measure: Measurement) -> list[Deviation]:
    # The originals' inputs may be smaller than the contract's.
    outputs = run_graph(graph.path, graph.spec, case.inputs)
    return measure(graph.spec.name, case.kept(outputs), case.wanted)


def _from_module(graph: _Graph, probe: _Probe, measure: Measurement) -> list[Deviation]:
    return measure(graph.spec.name, graph_outputs(graph.path, graph.spec, probe.inputs), probe.wanted)


def rows_of(network: str, link: str, case: str, measure: Callable[[], list[Deviation]]) -> list[Row]:
    """Measure, and keep the refusal where there is nothing to measure.

    Args:
        network: its name.
        link: of `LINKS`.
        case: which inputs.
        measure: the deviations, or a refusal.
    """
    try:
        return [Row(network, link, case, each.output, each.error, each.allowed, each.measure) for each in measure()]
    except RespinError as error:
        return [Row.failed(network, link, case, str(error))]
