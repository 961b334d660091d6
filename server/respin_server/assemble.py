"""Lay out what a server loads: the model repository and a set of weights, brought together by links."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from respin.contracts import JOBS, NETWORKS, ROTATE_OBJECT_STREAM
from respin.errors import ContractMismatch, InvalidInput
from respin.limits import DEFAULT_LIMITS, EngineLimits
from respin.model_set import MANIFEST, ModelSet
from respin.pbtxt import config_path, render, serves
from respin.profiles import Profile
from respin.specs import ModelSpec

MARKER = ".respin-assembled.json"
"""The file that says that a folder was made here, and of what."""

SERVED = "tensorrt"
"""The flavour of TensorRT that Triton's backend is."""

_VERSION = "1"


@dataclass(frozen=True)
class Assembled:
    """What an assembled repository serves.

    Args:
        profile: name of the serving profile.
        set_name: name of the set of weights.
    """

    profile: str
    set_name: str

    @classmethod
    def load(cls, repository: Path) -> Assembled:
        """Read the marker of an assembled repository.

        Raises:
            InvalidInput: the folder is none.
        """
        try:
            return cls(**json.loads((repository / MARKER).read_text()))
        except (OSError, ValueError, TypeError):
            raise InvalidInput(f"'{repository}' was not made by `respin assemble`; make it first") from None

    def save(self, repository: Path) -> None:
        """Mark a folder as assembled."""
        (repository / MARKER).write_text(json.dumps(asdict(self)) + "\n")


def assemble(
    model_repository: Path, models: Path, profile: Profile, output: Path, limits: EngineLimits = DEFAULT_LIMITS
) -> Assembled:
    """Lay out a repository that Triton can load, by absolute links: nothing is copied.

    A repository assembled before is replaced whole; nothing of it stays.

    Args:
        model_repository: configs and model.py files by model.
        models: folder of the set; every file is compared with the manifest first.
        profile: how the networks are served; decides which models there are.
        output: the folder to make; it may exist if it is empty or was made here.
        limits: of the engine; where they are not the default ones, the configs of the jobs are files of their own.

    Raises:
        InvalidInput: `output` holds something else.
        ContractMismatch: the set or the model repository lacks what the profile needs, or the set's engines are
            TensorRT-RTX's.
    """
    _check_replaceable(output)
    model_set = ModelSet.load(models)
    _check_flavour(model_set, profile)
    links = dict(_links(model_repository.resolve(), models.resolve(), model_set, profile))
    model_set.verify(models)
    for target in links.values():
        if not target.exists():
            raise ContractMismatch(f"'{target}' is missing; install respin again")

    assembled = Assembled(profile.name, model_set.name)
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    assembled.save(output)
    for link, target in links.items():
        (output / link).parent.mkdir(parents=True, exist_ok=True)
        (output / link).symlink_to(target)
    if limits != DEFAULT_LIMITS:
        _write_job_configs(output, profile, limits)
    return assembled


def _write_job_configs(output: Path, profile: Profile, limits: EngineLimits) -> None:
    """Put configs with these limits in the place of the links to those with the default ones."""
    for spec in JOBS.values():
        folder = output / spec.name
        (folder / "configs").unlink(missing_ok=True)
        config = output / config_path(spec, profile)
        config.parent.mkdir(exist_ok=True)
        config.unlink(missing_ok=True)
        config.write_text(render(spec, profile, limits))


def _check_flavour(model_set: ModelSet, profile: Profile) -> None:
    # `respin engines` records it; a set of engines made otherwise says nothing, and Triton is left to find out.
    engines = model_set.origin.get("engines") or {}
    flavours = {name: engine["identity"]["flavour"] for name, engine in engines.items()}
    if profile.network_backend == "tensorrt" and (foreign := [name for name in flavours if flavours[name] != SERVED]):
        raise ContractMismatch(
            f"set '{model_set.name}' holds engines of {flavours[foreign[0]]} ({', '.join(foreign)}), which Triton's "
            "TensorRT backend cannot load; build them with respin engines --flavour tensorrt, where the GPU is"
        )


def _check_replaceable(output: Path) -> None:
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise InvalidInput(f"'{output}' is not a folder; name one that does not exist yet")
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).is_file():
        raise InvalidInput(f"'{output}' holds something that `respin assemble` did not make; name another folder")


def _links(repository: Path, models: Path, model_set: ModelSet, profile: Profile) -> Iterator[tuple[Path, Path]]:
    """Every link: its path within the output, and what it points to."""
    for spec in JOBS.values():
        yield from _model_links(repository, spec, profile, has_code=True)
    engine = Path(ROTATE_OBJECT_STREAM.name) / _VERSION
    yield engine / MANIFEST, models / MANIFEST
    for spec in NETWORKS.values():
        folder = engine / "networks" / spec.name
        if serves(profile, spec):
            yield from _model_links(repository, spec, profile, has_code=profile.network_backend == "python")
            folder = Path(spec.name) / _VERSION
        yield from _weight_links(folder, models, spec, model_set, profile)


def _model_links(repository: Path, spec: ModelSpec, profile: Profile, *, has_code: bool) -> Iterator[tuple[Path, Path]]:
    # Triton falls back to config.pbtxt without a word where the profile's own config is missing.
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
    folder: Path, models: Path, spec: ModelSpec, model_set: ModelSet, profile: Profile
) -> Iterator[tuple[Path, Path]]:
    file, wanted = model_set.file(models, spec), Path(profile.network_file).suffix
    if file.suffix != wanted:
        raise ContractMismatch(
            f"set '{model_set.name}' holds {file.name} files, profile '{profile.name}' serves {wanted} files; "
            "choose the profile that the set was made for"
        )
    yield folder / profile.network_file, file
    # The graph names the weights beside it by their own names.
    for record in model_set.networks[spec.name][1:]:
        yield folder / Path(record.path).name, models / record.path
