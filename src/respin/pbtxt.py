"""Render every config.pbtxt from the contracts: `python -m respin.pbtxt [--check]`.

The files are committed so that operators can read them and Triton can load them; the contracts stay the source.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from respin.contracts import JOBS, MODELS, NETWORKS
from respin.limits import DEFAULT_LIMITS, LIMITS, EngineLimits
from respin.profiles import DEFAULT_PROFILE, PROFILES, Profile
from respin.runtimes import DEFAULT_IN_PROCESS, InProcess
from respin.specs import ModelSpec, TensorSpec

HEADER = "# Rendered from respin.contracts by `python -m respin.pbtxt`; edit the contracts instead.\n"


def render(
    spec: ModelSpec,
    profile: Profile,
    limits: EngineLimits = DEFAULT_LIMITS,
    in_process: InProcess = DEFAULT_IN_PROCESS,
) -> str:
    """Return the text of one model's config file under one profile.

    Args:
        spec: the model's contract.
        profile: one that serves the model (`serves`).
        limits: limits of the engine.
        in_process: how the engine runs the networks, if the profile has them in its process.

    Returns:
        protobuf text of `inference.ModelConfig`.
    """
    network = spec.name in NETWORKS
    backend = profile.network_backend if network else "python"
    parts = [
        HEADER,
        f'name: "{spec.name}"',
        f'backend: "{backend}"',
        f"max_batch_size: {spec.max_batch_size}",
        *(_tensor("input", tensor) for tensor in spec.inputs),
        *(_tensor("output", tensor) for tensor in spec.outputs),
    ]
    kind = profile.instance_kind if network else "KIND_CPU"
    parts.append(f"instance_group [{{ count: 1 kind: {kind} }}]")
    if network:
        # No queue delay: the engine sends whole batches; the batcher only merges requests that wait anyway.
        parts.append("dynamic_batching { }")
        if backend == "python":
            parts.append("# threads a call; 0 = half of the cores, or all where one sample fills them")
            parts.append(_parameter("intra_op_num_threads", "0"))
        else:
            parts.append(f'default_model_filename: "{profile.network_file}"')
    else:
        parts += _job_parts(spec, profile, limits, in_process)
    return "\n".join(parts) + "\n"


def _job_parts(spec: ModelSpec, profile: Profile, limits: EngineLimits, in_process: InProcess) -> Iterator[str]:
    if not spec.decoupled:
        return
    yield "model_transaction_policy { decoupled: true }"
    yield _parameter("networks", profile.networks)
    if profile.networks == "in_process":
        for name, value in in_process.parameters().items():
            yield _parameter(name, value)
    for name, meaning in LIMITS.items():
        yield f"# {meaning}"
        yield _parameter(name, str(getattr(limits, name)))


def _tensor(side: str, tensor: TensorSpec) -> str:
    optional = " optional: true" if tensor.optional else ""
    dims = ", ".join(map(str, tensor.dims))
    return (
        f"# {tensor.meaning}\n"
        f'{side} [{{ name: "{tensor.name}" data_type: {tensor.dtype.pbtxt} dims: [ {dims} ]{optional} }}]'
    )


def _parameter(key: str, value: str) -> str:
    return f'parameters [{{ key: "{key}" value: {{ string_value: "{value}" }} }}]'


def serves(profile: Profile, spec: ModelSpec) -> bool:
    """Return whether Triton serves the model under the profile."""
    return spec.name in JOBS or profile.network_backend is not None


def config_files() -> Iterator[tuple[Path, str]]:
    """Return every config file: its path within the model repository, and its text."""
    for spec in MODELS.values():
        for profile in PROFILES.values():
            if serves(profile, spec):
                yield config_path(spec, profile), render(spec, profile)


def config_path(spec: ModelSpec, profile: Profile) -> Path:
    """Return the path of a model's config within the model repository."""
    if profile.name == DEFAULT_PROFILE:
        return Path(spec.name) / "config.pbtxt"
    return Path(spec.name) / "configs" / f"{profile.name}.pbtxt"


def stale_files(repository: Path) -> list[Path]:
    """Return the config files that are missing, differ from the rendering, or belong to no contract."""
    wanted = dict(config_files())
    stale = [path for path, text in wanted.items() if not _holds(repository / path, text)]
    found = {path.relative_to(repository) for path in repository.glob("**/*.pbtxt")}
    return stale + sorted(found - set(wanted))


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


def main(arguments: list[str] | None = None) -> int:
    """Write the config files, or compare them with `--check`, and return the exit status: 1 if they differ."""
    parser = argparse.ArgumentParser(prog="python -m respin.pbtxt", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a committed file differs")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    stale = stale_files(options.repository)
    if options.check:
        for path in stale:
            print(f"{path}: differs from its contract; run python -m respin.pbtxt", file=sys.stderr)
        return 1 if stale else 0
    for path, text in config_files():
        target = options.repository / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for path in set(stale) - {path for path, _ in config_files()}:
        (options.repository / path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
