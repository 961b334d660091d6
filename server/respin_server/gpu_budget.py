"""Whether the networks fit into `--gpu-memory-mib`, all at once or by making room for each other, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from respin.errors import InvalidInput
from respin.gpu_memory import gpu_need, shared_need, sharing_within
from respin.model_set import ModelSet
from respin.runtimes import InProcess


def memory_sentence(in_process: InProcess, model_set: ModelSet, unet_batch: int, runtimes: Sequence[str]) -> str:
    """Say how much GPU memory the networks need, and whether they share it.

    Args:
        in_process: the runtime and the budget.
        model_set: the set's manifest.
        unet_batch: samples of the largest call of a UNet.
        runtimes: names of all that run on a GPU, for the refusal.

    Raises:
        InvalidInput: the budget is too small; the message says what would fit.
    """
    runtime, budget_mib = in_process.runtime, in_process.gpu_memory_mib
    need = gpu_need(runtime, model_set, unet_batch)
    if budget_mib and _least_mib(runtime, model_set, unet_batch) > budget_mib:
        raise InvalidInput(
            f"--gpu-memory-mib is {budget_mib} and the runtime {runtime} needs about {need}, or "
            f"{_least_mib(runtime, model_set, unet_batch)} MiB with networks that make room for each other; "
            + _cures(in_process, model_set, unet_batch, runtimes)
        )
    sharing = sharing_within(runtime, model_set, unet_batch, budget_mib)
    if sharing is None:
        return f"needs about {need}"
    if sharing.unets_stay:
        who, more = "the UNets stay loaded and the other networks", ""
    else:
        who, more = "all networks", f": the UNets stay loaded {_when_unets_stay(in_process, model_set, unet_batch)}"
    return (
        f"all at once need about {need}; within {budget_mib} MiB {who} make room for each other (a call of an evicted "
        f"one loads it again first, and runs without CUDA graphs and compiled code){more}"
    )


def _when_unets_stay(in_process: InProcess, model_set: ModelSet, unet_batch: int) -> str:
    """Return with which budget, or with which batch in this one, the UNets stay loaded."""
    needs = {
        batch: shared_need(in_process.runtime, model_set, batch, unets_stay=True).total_mib
        for batch in range(1, unet_batch + 1)
    }
    fitting = [batch for batch, mib in needs.items() if mib <= in_process.gpu_memory_mib]
    smaller = f", or with --limit unet_batch={max(fitting)}" if fitting else ""
    return f"with {needs[unet_batch]} MiB{smaller}"


def _cures(in_process: InProcess, model_set: ModelSet, unet_batch: int, runtimes: Sequence[str]) -> str:
    """Return what would fit: fewer samples a call, or another runtime; else the least budget."""
    runtime, budget_mib = in_process.runtime, in_process.gpu_memory_mib
    smaller = {batch: _least_mib(runtime, model_set, batch) for batch in range(unet_batch - 1, 0, -1)}
    cures = [f"--limit unet_batch={batch} needs {mib} MiB" for batch, mib in smaller.items() if mib <= budget_mib][:1]
    others = {each: _least_mib(each, model_set, unet_batch) for each in runtimes if each != runtime}
    cures += [f"--runtime {each} needs {mib} MiB" for each, mib in others.items() if mib <= budget_mib]
    if cures:
        return ", ".join(cures)
    now = _least_mib(runtime, model_set, unet_batch)
    least = min(smaller.values(), default=now)
    return f"nothing fits: the least is {least} MiB" + (", with --limit unet_batch=1" if least < now else "")


def _least_mib(runtime: str, model_set: ModelSet, unet_batch: int) -> int:
    """Return the smallest budget that works, MiB."""
    shared = shared_need(runtime, model_set, unet_batch, unets_stay=False).total_mib
    return min(shared, gpu_need(runtime, model_set, unet_batch).total_mib)
