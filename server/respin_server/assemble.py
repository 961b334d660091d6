"""Assemble what a server loads: a folder of links to the model repository and a set of weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from respin.contracts import JOBS, NETWORKS, ROTATE_OBJECT_STREAM
from respin.errors import ContractMismatch, InvalidInput
from respin.json_file import read_json_object
from respin.limits import DEFAULT_LIMITS, EngineLimits
from respin.model_set import MANIFEST, ModelSet, mapping_of
from respin.pbtxt import config_path, render, serves
from respin.profiles import Profile
from respin.runtimes import DEFAULT_IN_PROCESS, InProcess
from respin.specs import ModelSpec
from respin_server.choice import Choice

MARKER = ".respin-assembled.json"
"""File that marks a folder as assembled, and records from what."""

SERVED = "tensorrt"
"""The TensorRT flavour that Triton's backend loads."""

_VERSION = "1"


@dataclass(frozen=True)
class Assembled:
    """The contents of an assembled repository.

    Args:
        profile: name of the serving profile.
        set_name: name of the set of weights.
        notes: sentences about what the set cannot do (`ModelSet.notes`).
        runtime: runtime and device of the networks in the engine's process, in words; empty for other profiles.
    """

    profile: str
    set_name: str
    notes: tuple[str, ...] = ()
    runtime: str = ""

    @classmethod
    def load(cls, repository: Path) -> Assembled:
        """Read the marker of an assembled repository.

        Raises:
            InvalidInput: the folder was not made by `respin assemble`.
        """
        try:
            marker = read_json_object(repository / MARKER)
            return cls(**{**marker, "notes": tuple(marker.get("notes", ()))})
        except (OSError, ValueError, TypeError):
            raise InvalidInput(f"'{repository}' was not made by `respin assemble`; make it first") from None

    def save(self, repository: Path) -> None:
        """Mark a folder as assembled."""
        (repository / MARKER).write_text(json.dumps(asdict(self)) + "\n")


def assemble(
    model_repository: Path,
    models: Path,
    profile: Profile,
    output: Path,
    limits: EngineLimits = DEFAULT_LIMITS,
    *,
    choice: Choice | None = None,
) -> Assembled:
    """Assemble a repository that Triton can load. It consists of absolute links; nothing is copied.

    A repository assembled before is replaced completely.

    Args:
        model_repository: folder of the configs and model.py files.
        models: folder of the set; every file is verified against the manifest first.
        profile: how the networks are served; determines which models there are.
        output: the folder to create; it may exist if it is empty or was assembled before.
        limits: limits of the engine; unless they are the defaults, the configs of the jobs are written, not linked.
        choice: the runtime of a profile whose networks are in the engine's process, with what it loads instead of
            `models`; None = ONNX Runtime on the CPU.

    Raises:
        InvalidInput: `output` contains something else, or the profile takes no runtime.
        ContractMismatch: the set or the model repository lacks what the profile needs, or the set contains engine
            plans of TensorRT-RTX.
    """
    _check_replaceable(output)
    if choice is not None and profile.networks != "in_process":
        raise InvalidInput(f"profile '{profile.name}' takes no --device or --runtime; use --profile local")
    models, model_set = (models, ModelSet.load(models)) if choice is None else (choice.folder, choice.model_set)
    in_process = DEFAULT_IN_PROCESS if choice is None else choice.in_process
    _check_flavour(model_set, profile)
    links = _distinct(_links(model_repository.resolve(), models.resolve(), model_set, profile, in_process))
    model_set.verify(models)
    for target in links.values():
        if not target.exists():
            raise ContractMismatch(f"'{target}' is missing; install respin again")

    runtime = f"{in_process.runtime} on {in_process.device}" if profile.networks == "in_process" else ""
    assembled = Assembled(profile.name, model_set.name, model_set.notes, runtime)
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    assembled.save(output)
    for link, target in links.items():
        (output / link).parent.mkdir(parents=True, exist_ok=True)
        (output / link).symlink_to(target)
    if (limits, in_process) != (DEFAULT_LIMITS, DEFAULT_IN_PROCESS):
        _write_job_configs(output, profile, limits, in_process)
    if in_process.file is None:
        # A set that PyTorch's modules make has no files, and so no manifest to link.
        model_set.save(output / ROTATE_OBJECT_STREAM.name / _VERSION)
    return assembled


def _distinct(links: Iterator[tuple[Path, Path]]) -> dict[Path, Path]:
    """Return the links by their paths; no file of a set may take the place of another file of the repository."""
    made: dict[Path, Path] = {}
    for link, target in links:
        if link in made or not made.keys().isdisjoint(link.parents):
            raise ContractMismatch(f"two files would be '{link}'; export the set again")
        made[link] = target
    return made


def _write_job_configs(output: Path, profile: Profile, limits: EngineLimits, in_process: InProcess) -> None:
    """Replace the links to the jobs' configs by configs with these limits and this runtime."""
    for spec in JOBS.values():
        folder = output / spec.name
        (folder / "configs").unlink(missing_ok=True)
        config = output / config_path(spec, profile)
        config.parent.mkdir(exist_ok=True)
        config.unlink(missing_ok=True)
        config.write_text(render(spec, profile, limits, in_process))


def _check_flavour(model_set: ModelSet, profile: Profile) -> None:
    # `respin engines` records the flavour. For plans built otherwise it is unknown, and Triton reports a mismatch.
    engines = mapping_of(model_set.origin.get("engines"))
    identities = {name: mapping_of(mapping_of(engine).get("identity")) for name, engine in engines.items()}
    flavours = {name: str(identity.get("flavour", SERVED)) for name, identity in identities.items()}
    if profile.network_backend == "tensorrt" and (foreign := [name for name in flavours if flavours[name] != SERVED]):
        raise ContractMismatch(
            f"set '{model_set.name}' contains engine plans of {flavours[foreign[0]]} ({', '.join(foreign)}), which "
            "Triton's TensorRT backend cannot load; build them with respin engines --flavour tensorrt, where the GPU is"
        )


def _check_replaceable(output: Path) -> None:
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise InvalidInput(f"'{output}' is not a folder; choose a path that does not exist yet")
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).is_file():
        raise InvalidInput(f"'{output}' contains files that `respin assemble` did not create; choose another folder")


def _links(
    repository: Path, models: Path, model_set: ModelSet, profile: Profile, in_process: InProcess
) -> Iterator[tuple[Path, Path]]:
    """Yield every link: its path within the output, and its target."""
    for spec in JOBS.values():
        yield from _model_links(repository, spec, profile, has_code=True)
    engine = Path(ROTATE_OBJECT_STREAM.name) / _VERSION
    if in_process.file is None:
        yield engine / "weights", models
        return
    yield engine / MANIFEST, models / MANIFEST
    file = in_process.file if profile.networks == "in_process" else profile.network_file
    for spec in NETWORKS.values():
        folder = engine / "networks" / spec.name
        if serves(profile, spec):
            yield from _model_links(repository, spec, profile, has_code=profile.network_backend == "python")
            folder = Path(spec.name) / _VERSION
        yield from _weight_links(folder / file, models, spec, model_set, profile)


def _model_links(repository: Path, spec: ModelSpec, profile: Profile, *, has_code: bool) -> Iterator[tuple[Path, Path]]:
    # If the profile's own config is missing, Triton silently falls back to config.pbtxt.
    if not (repository / config_path(spec, profile)).is_file():
        raise ContractMismatch(
            f"'{repository}' has no {config_path(spec, profile)}; render it with python -m respin.pbtxt"
        )
    model = Path(spec.name)
    yield model / "config.pbtxt", repository / model / "config.pbtxt"
    if (repository / model / "configs").is_dir():
        yield model / "configs", repository / model / "configs"
    if has_code:
        yield model / _VERSION / "model.py", repository / model / _VERSION / "model.py"


def _weight_links(
    link: Path, models: Path, spec: ModelSpec, model_set: ModelSet, profile: Profile
) -> Iterator[tuple[Path, Path]]:
    file, *beside = model_set.files(models, spec)
    if file.suffix != link.suffix:
        raise ContractMismatch(
            f"set '{model_set.name}' holds {file.name} files, profile '{profile.name}' serves {link.suffix} files; "
            "choose the profile that the set was made for"
        )
    yield link, file
    # The graph refers to the external weights by their own names.
    for path in beside:
        yield link.with_name(path.name), path
