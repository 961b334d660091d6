"""Export the networks of a set that are not up to date, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from respin.contracts import NETWORKS
from respin.errors import InvalidInput, RespinError
from respin.model_set import Sizes
from respin_export.errors import ExportMismatch
from respin_export.isolated import IsolatedTask, TaskDone, TaskEvent, TaskFailed, TaskRunner, run_isolated
from respin_export.published import PublishedWeights, checkpoint_record
from respin_export.set_writer import SetWriter

STAGES = ("loading", "computing", "tracing", "writing", "checking")
"""Stages of the export of one network, in order."""


@dataclass(frozen=True)
class UpToDate:
    """The event that a network needs no export."""

    name: str


@dataclass(frozen=True)
class ExportPlan:
    """The networks to export, and the set to put them into.

    Args:
        folder: folder of the set.
        name: name of the set.
        sizes: image sizes of the set.
        networks: names of the networks.
        source: source of the weights.
        options: keyword arguments of `respin_export.to_onnx.ExportOptions`, which the parent does not import.
        jobs: number of networks at a time.
        ungated: names of networks whose errors are recorded, whatever they are.
    """

    folder: Path
    name: str
    sizes: Sizes
    networks: Sequence[str]
    source: PublishedWeights
    options: dict[str, Any] = field(default_factory=dict)
    jobs: int = 1
    ungated: Sequence[str] = ()

    @property
    def precision(self) -> str:
        """Number format of the graphs' arithmetic, "fp32" or "fp16"."""
        return str(self.options.get("precision", "fp32"))


@dataclass(frozen=True)
class ExportResult:
    """Result of an export's process: the error of each output, and a sentence about the weights."""

    parity: dict[str, float]
    note: str | None


def export_set(
    plan: ExportPlan, on_event: Callable[[TaskEvent | UpToDate], None] = lambda _: None, run: TaskRunner = run_isolated
) -> list[TaskFailed]:
    """Export the networks of a plan that are not up to date.

    The folder is a valid set after each network: an interruption loses only the networks that are being exported.

    Args:
        plan: the networks, their source and the set.
        on_event: called in this process with each event.
        run: runs the exports.

    Returns:
        the networks that could not be exported; the others are in the set.

    Raises:
        InvalidInput: the folder holds a set of another precision or other sizes.
    """
    writer = SetWriter.open(plan.folder, name=plan.name, precision=plan.precision, sizes=plan.sizes)
    known = writer.manifest.origin.get("weights")
    sources = _Sources(plan, dict(known) if isinstance(known, dict) else {})
    failed: list[TaskFailed] = []
    with ExitStack() as drafts:
        tasks: dict[str, IsolatedTask] = {}
        paths: dict[str, Path] = {}
        for network in plan.networks:
            try:
                made_from = sources.made_from(network)
            except RespinError as error:
                failed.append(TaskFailed(network, error))
                on_event(failed[-1])
                continue
            if writer.is_current(network, made_from):
                on_event(UpToDate(network))
                continue
            paths[network] = drafts.enter_context(writer.draft(network))
            tasks[network] = partial(_export, plan, network, paths[network])
        events = drafts.enter_context(closing(run(tasks, plan.jobs)))
        for event in events:
            if isinstance(event, TaskDone):
                _publish(writer, paths[event.name], event, sources)
            elif isinstance(event, TaskFailed):
                failed.append(event)
            on_event(event)
    return failed


def check_exported(failed: Sequence[TaskFailed], count: int) -> None:
    """Check that every network was exported.

    Args:
        failed: networks that were not, from `export_set`.
        count: number of networks that were to be exported.

    Raises:
        InvalidInput: some were not, because of what the caller gave.
        ExportMismatch: some were not, for another reason.
    """
    if not failed:
        return
    reasons = "\n  ".join(f"{each.name}: {each.error}" for each in failed)
    error = InvalidInput if all(isinstance(each.error, InvalidInput) for each in failed) else ExportMismatch
    raise error(f"{len(failed)} of {count} networks were not exported, the others are in place:\n  {reasons}")


def _export(plan: ExportPlan, network: str, path: Path, on_stage: Callable[[str], None]) -> ExportResult:
    """Export one network, in a process of its own."""
    from respin_export.to_onnx import ExportOptions, export_loaded  # noqa: PLC0415 (torch)

    load = partial(plan.source.load, network)
    options = ExportOptions(**plan.options, gated=network not in plan.ungated)
    parity = export_loaded(load, NETWORKS[network], plan.sizes, path, options=options, on_stage=on_stage)
    return ExportResult(parity, plan.source.note(network))


def _publish(writer: SetWriter, path: Path, done: TaskDone, sources: _Sources) -> None:
    exported: ExportResult = done.result
    took = {"wall_s": done.wall_s, "peak_rss_mib": done.peak_rss_mib}
    note = {"note": exported.note} if exported.note else {}
    writer.publish(
        done.name,
        path,
        parity=exported.parity,
        export={**sources.made_from(done.name), **took, **note},
        weights=sources.records,
    )


class _Sources:
    """The checkpoints of a plan; each is read once for its SHA-256."""

    def __init__(self, plan: ExportPlan, records: dict[str, Any]) -> None:
        self.plan = plan
        self.records = records
        self._fresh: set[str] = set()

    def made_from(self, network: str) -> dict[str, Any]:
        """Return what a network's files depend on, except the tools."""
        source = self.plan.source
        name = source.checkpoint(network)
        if name not in self._fresh:
            record = checkpoint_record(source.find(network), self.records.get(name) or {})
            self.records[name] = {**record, **source.about(name)}
            self._fresh.add(name)
        record = self.records[name]
        hashes = {f"weights_{key}": record[key] for key in ("sha256", "config_sha256") if key in record}
        settings = {key: value for key, value in self.plan.options.items() if key != "device"}
        return {"checkpoint": name, **hashes, **source.settings, **settings}
