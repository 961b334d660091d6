"""Fill torch.compile's cache from many processes at once: in one process, network after network takes many minutes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from respin.contracts import NETWORKS
from respin.errors import InternalError
from respin.model_set import Sizes
from respin_benchmarks.in_process.network_runs import usual_inputs
from respin_benchmarks.in_process.resume import OutOfTime
from respin_benchmarks.in_process.runner import CompiledGraphs
from respin_benchmarks.in_process.torch_networks import COMPILED, on_device, runner_of
from respin_benchmarks.in_process.weights import Weights
from respin_export.isolated import Done, Failed, run_isolated

Lengths = dict[str, int]


def lengths_met(name: str, sizes: Sizes) -> list[Lengths]:
    """The lengths of a network's free axes that a job of a square photo brings, beside the usual ones."""
    view = sizes.view_side
    others: dict[str, Lengths] = {
        "grounding_dino": {"height": sizes.detection_short_side, "width": sizes.detection_short_side},
        "vae_encoder": {"height": view, "width": view},
        "vae_decoder": {"latent_height": view // 8, "latent_width": view // 8},
    }
    return [{}, others[name]] if name in others else [{}]


def precompile(
    weights: Weights, *, half: bool, jobs: int, notes: Path, tell: Callable[[str], None], time_is_up: Callable[[], bool]
) -> None:
    """Compile every network of `COMPILED` for its batches, unless that was done before.

    Args:
        weights: to load from.
        half: in float16.
        jobs: processes at a time; each holds one network on the GPU.
        notes: a file that tells what is done by which torch on which GPU.
        tell: shown what is done.
        time_is_up: asked after each.

    Raises:
        InternalError: a network could not be compiled.
        OutOfTime: some are left.
    """
    here = f"torch {torch.__version__} on {torch.cuda.get_device_name()}"
    noted = notes.read_text().splitlines() if notes.is_file() else []
    done = noted[1:] if noted[:1] == [here] else []
    tasks = {
        f"{name} x {batch} {' '.join(f'{axis} {length}' for axis, length in lengths.items())}".strip(): partial(
            _compile, weights, name, batch, lengths, half
        )
        for name, batches in COMPILED.items()
        for batch in batches
        for lengths in lengths_met(name, weights.sizes)
    }
    for event in run_isolated({name: task for name, task in tasks.items() if name not in done}, jobs):
        if isinstance(event, Failed):
            raise InternalError(f"{event.name} could not be compiled: {event.error}")
        if not isinstance(event, Done):
            continue
        done.append(event.name)
        notes.parent.mkdir(parents=True, exist_ok=True)
        notes.write_text("\n".join([here, *done]))
        tell(f"compiled {event.name}")
        if len(done) < len(tasks) and time_is_up():
            raise OutOfTime(f"time is up with {len(done)} of {len(tasks)} compiled; run the same command again")


def _compile(
    weights: Weights, name: str, batch: int, lengths: Lengths, half: bool, _on_stage: Callable[[str], None]
) -> None:
    runner = runner_of(name, "compiled", on_device(weights, name, device="cuda", half=half), "cuda")
    assert isinstance(runner, CompiledGraphs)
    arrays = usual_inputs(NETWORKS[name], weights.sizes, batch, lengths)
    torch.backends.cudnn.benchmark = True
    with torch.inference_mode():
        runner(arrays)
