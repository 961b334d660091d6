"""Build the engine plans of a set, as a set for `respin assemble --profile tensorrt`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from respin.contracts import NETWORKS
from respin.contracts.networks import UNETS
from respin.errors import ContractMismatch, InvalidInput, RespinError
from respin.model_set import MANIFEST, ModelSet, NetworkFile, Sizes, sha256_of
from respin_export.checks import check_networks
from respin_export.errors import BuildFailed
from respin_export.optimization_profile import InputShape, optimization_profile
from respin_export.set_writer import save_manifest
from respin_export.tensorrt.builder import BuildCost, EngineOptions, EngineTask, ReportPhase, build_in_own_process
from respin_export.tensorrt.flavours import Library
from respin_export.tensorrt.identity import EngineIdentity, EngineRecord, engine_records, shapes_text, weights_sha256

Build = Callable[[EngineTask, ReportPhase], BuildCost]


@dataclass
class EngineReport:
    """The engine plans that were kept and built, and the errors, by network."""

    kept: dict[str, EngineRecord] = field(default_factory=dict)
    built: dict[str, EngineRecord] = field(default_factory=dict)
    failed: dict[str, RespinError] = field(default_factory=dict)

    def check(self) -> None:
        """Check that nothing failed.

        Raises:
            BuildFailed: some engine plans were not built.
        """
        if self.failed:
            reasons = "\n  ".join(str(error) for error in self.failed.values())
            raise BuildFailed(f"not built: {', '.join(self.failed)}\n  {reasons}")


def engines_folder(source: Path, library: Library) -> Path:
    """Return the folder of a set's engine plans, beside the set, named after the set and the flavour."""
    named = source if source.name else source.resolve()
    return named.with_name(f"{named.name}-{library.flavour}")


def build_engines(
    source: Path,
    output: Path,
    options: EngineOptions,
    *,
    networks: Sequence[str] = (),
    progress: Callable[[str], ReportPhase] = lambda _network: lambda *_: None,
    build: Build = build_in_own_process,
) -> EngineReport:
    """Build engine plans of a set's networks into a set of their own; those that are up to date are kept.

    A failed engine plan does not stop the others. The manifest is written after each.

    Args:
        source: folder of a set of ONNX files.
        output: folder of the set to create or to complete.
        options: options of the build.
        networks: names of networks; empty = all of the set.
        progress: function from a network's name to the callback for its progress.
        build: builds one engine plan.

    Raises:
        ContractMismatch: the set lacks a network, or `output` holds an engine plan that is not of this set, precision,
            shapes, TensorRT and compute capability; nothing is written then.
        InvalidInput: `output` holds another kind of set.
    """
    source_set = ModelSet.load(source)
    chosen = networks or list(source_set.networks)
    check_networks(chosen)
    graphs = {name: source_set.file(source, NETWORKS[name]) for name in chosen}
    wanted = {name: _identity(source, source_set, name, options) for name in source_set.networks}
    records = _up_to_date(output, wanted, chosen, source, options)
    report = EngineReport()
    for name, graph in graphs.items():
        if name in records:
            report.kept[name] = records[name]
            continue
        try:
            replace(source_set, networks={name: source_set.networks[name]}).verify(source)
            profile = _profile(graph, name, source_set.sizes)
            task = EngineTask(name, graph, profile, output / name / wanted[name].file_name, options)
            records[name] = _build(task, wanted[name], progress(name), build)
        except RespinError as error:
            report.failed[name] = error
            continue
        report.built[name] = records[name]
        save_manifest(_manifest(source, source_set, options.library, records), output)
    return report


def _load_engine_set(output: Path) -> ModelSet:
    made = ModelSet.load(output)
    files = [files[0].path for files in made.networks.values()]
    if other := [path for path in files if Path(path).suffix != ".plan"]:
        raise InvalidInput(f"'{output}' holds a set of other files ({other[0]}); name another folder for the engines")
    return made


def _identity(source: Path, source_set: ModelSet, name: str, options: EngineOptions) -> EngineIdentity:
    return EngineIdentity(
        network=name,
        weights_sha256=weights_sha256(source_set.networks[name]),
        precision=source_set.precision,
        shapes=shapes_text(_profile(source_set.file(source, NETWORKS[name]), name, source_set.sizes)),
        flavour=options.library.flavour,
        version=options.library.version,
        capabilities=", ".join(options.capabilities),
    )


def _up_to_date(
    output: Path, wanted: Mapping[str, EngineIdentity], chosen: Sequence[str], source: Path, options: EngineOptions
) -> dict[str, EngineRecord]:
    """Return the plans of all networks that are up to date; a stale one is an error, as a set must not mix builds."""
    if not (output / MANIFEST).is_file():
        return {}
    made = _load_engine_set(output)
    records: dict[str, EngineRecord] = {}
    refused: dict[str, list[str]] = {}
    for name, record in engine_records(made).items():
        if name not in wanted or not (output / made.networks[name][0].path).is_file():
            continue
        refusal = _refusal(output, made, name, record.identity.differences(wanted[name]))
        if refusal is None:
            records[name] = record
        elif not (options.rebuild and name in chosen):
            refused.setdefault(refusal, []).append(name)
    if refused:
        reasons = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in refused.items())
        stale = [name for names in refused.values() for name in names]
        command = rebuild_command(source, output, options, stale if len(stale) < len(wanted) else [])
        raise ContractMismatch(f"{reasons}; rebuild with: {command}")
    return records


def _refusal(output: Path, made: ModelSet, name: str, differences: Sequence[str]) -> str | None:
    """Return why an engine plan is not the wanted one; None if it is."""
    if differences:
        return f"built for {'; for '.join(differences)}"
    try:
        replace(made, networks={name: made.networks[name]}).verify(output)
    except ContractMismatch as error:
        return str(error)
    return None


def rebuild_command(source: Path, output: Path, options: EngineOptions, networks: Sequence[str]) -> str:
    """Return the shell command that rebuilds the engine plans of some networks; empty = of all."""
    words = ["respin", "engines", str(source), "--output", str(output), "--flavour", options.library.flavour]
    for capability in options.capabilities:
        words += ["--capability", capability.partition(":")[0]]
    for name in networks:
        words += ["--network", name]
    return shlex.join([*words, "--rebuild"])


def _profile(graph: Path, name: str, sizes: Sizes) -> dict[str, tuple[InputShape, InputShape, InputShape]]:
    """Return the shapes to build for; a graph that is missing or damaged is found later (`ModelSet.verify`)."""
    # ONNX, which the command's help does not need
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    from respin_export.graph import takes_fewer_guidance  # noqa: PLC0415

    try:
        fewer = name in UNETS and takes_fewer_guidance(graph)
    except (OSError, DecodeError):
        fewer = False
    return optimization_profile(NETWORKS[name], sizes, fewer_guidance=fewer)


def _build(task: EngineTask, identity: EngineIdentity, report: ReportPhase, build: Build) -> EngineRecord:
    """Build an engine plan, move it into place, and remove those that it replaces."""
    folder = task.engine.parent
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as unfinished:
        draft = Path(unfinished) / task.engine.name
        cost = build(replace(task, engine=draft), report)
        record = EngineRecord(identity, sha256_of(draft), draft.stat().st_size, **asdict(cost))
        draft.replace(task.engine)
    for other in set(folder.glob("model-*.plan")) - {task.engine}:
        other.unlink()
    return record


def _manifest(source: Path, source_set: ModelSet, library: Library, records: Mapping[str, EngineRecord]) -> ModelSet:
    in_order = {name: records[name] for name in source_set.networks if name in records}
    return replace(
        source_set,
        name=f"{source_set.name}-{library.flavour}",
        networks={
            name: (NetworkFile(f"{name}/{record.identity.file_name}", record.sha256, record.size_bytes),)
            for name, record in in_order.items()
        },
        origin={
            "source": {
                "name": source_set.name,
                "manifest_sha256": sha256_of(source / MANIFEST),
                "origin": source_set.origin,
            },
            "engines": {name: asdict(record) for name, record in in_order.items()},
        },
    )
