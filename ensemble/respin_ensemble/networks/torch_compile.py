"""Fill torch.compile's cache from many processes at once: in one process, network after network takes many minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from respin.lengths import Lengths, lengths_in_jobs
from respin.model_set import Sizes
from respin.specs import Array
from respin_ensemble.networks.torch_networks import COMPILED, ModuleLoader, call_of, module_on_device

ExampleInputs = Callable[[str, int, Lengths], Mapping[str, Array]]
"""Makes inputs of a network, by name, for a batch and for lengths of free axes; missing ones are the usual."""


@dataclass(frozen=True)
class CompileTask:
    """Compiles a network for one batch and shape; pickled, to run in a process of its own.

    Args:
        name: of the network.
        load_module: see `ModuleLoader`.
        inputs: to compile for.
    """

    name: str
    load_module: ModuleLoader
    inputs: Callable[[], Mapping[str, Array]]

    def __call__(self, _on_stage: Callable[[str], None] = lambda _: None) -> None:
        """Compile."""
        module = module_on_device(self.name, self.load_module, "cuda")
        torch.backends.cudnn.benchmark = True
        with torch.inference_mode():
            call_of(self.name, module, device="cuda", execution="compiled")(self.inputs())


@dataclass(frozen=True)
class _Inputs:
    make: ExampleInputs
    name: str
    batch: int
    lengths: Lengths

    def __call__(self) -> Mapping[str, Array]:
        return self.make(self.name, self.batch, self.lengths)


def compile_tasks(load_module: ModuleLoader, sizes: Sizes, example_inputs: ExampleInputs) -> dict[str, CompileTask]:
    """Return a task for each network of `COMPILED`, batch and shape, by a name for it.

    Args:
        load_module: see `ModuleLoader`; pickled.
        sizes: of the set.
        example_inputs: see `ExampleInputs`; pickled.
    """
    tasks = {}
    for name in COMPILED:
        for batch in COMPILED[name]:
            for lengths in lengths_in_jobs(name, sizes):
                words = " ".join(f"{axis} {length}" for axis, length in lengths.items())
                task = CompileTask(name, load_module, _Inputs(example_inputs, name, batch, lengths))
                tasks[f"{name} x {batch} {words}".strip()] = task
    return tasks


def compile_ahead(
    tasks: Mapping[str, CompileTask], run: Callable[[Mapping[str, CompileTask]], Iterable[str]], notes: Path
) -> Iterator[tuple[str, int]]:
    """Run the tasks that were not done before; yield the name of each as it is done, and how many are left.

    Args:
        tasks: see `compile_tasks`.
        run: runs tasks in processes of their own, yields their names as they are done, and raises if one fails.
        notes: a file of what is done, by which torch, on which GPU.
    """
    here = f"torch {torch.__version__} on {torch.cuda.get_device_name()}"
    lines = notes.read_text().splitlines() if notes.is_file() else []
    done = lines[1:] if lines[:1] == [here] else []
    for name in run({name: task for name, task in tasks.items() if name not in done}):
        done.append(name)
        notes.parent.mkdir(parents=True, exist_ok=True)
        notes.write_text("\n".join([here, *done]))
        yield name, len(tasks) - len(done)
