"""The steps of a setup. Each keeps what is complete and of the same inputs, so a setup that was ended goes on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.progress import Progress

from respin.contracts import NETWORKS
from respin.errors import ContractMismatch
from respin.model_set import ModelSet, mapping_of
from respin_export.checkpoints import CHECKPOINT_OF, find_checkpoint
from respin_export.disk import FreeBytes, check_room
from respin_export.export_set import ExportPlan, check_exported, export_set
from respin_export.isolated import TaskRunner, run_isolated
from respin_export.progress import ExportBar, engine_bar
from respin_export.published import PublishedWeights
from respin_export.setup.plan import SetupPlan
from respin_export.tensorrt.builder import EngineOptions, build_in_own_process
from respin_export.tensorrt.engine_set import Build, build_engines


class SetupView:
    """The view of a setup.

    Args:
        steps: names of the steps, in order.
        progress: shows the bars.
    """

    def __init__(self, steps: Sequence[str], progress: Progress) -> None:
        self.steps = steps
        self.progress = progress
        self._task = progress.add_task("setup", total=len(steps), unit="steps")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show that a step runs; its bars are removed at its end, its lines stay."""
        number = self.steps.index(name) + 1
        self.line(f"step {number} of {len(self.steps)}: {name}")
        self.progress.update(self._task, description=name, completed=number - 1)
        before = set(self.progress.task_ids)
        yield
        for task in set(self.progress.task_ids) - before:
            self.progress.remove_task(task)
        self.progress.update(self._task, completed=number)

    def line(self, sentence: str) -> None:
        """Print a sentence above the bars."""
        self.progress.console.print(sentence, highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class SetupTools:
    """What the steps are done with.

    Args:
        fetch: fetches the checkpoints of the plan, and returns a sentence for each file.
        engines: options of building engine plans, which replace stale ones; None if the plan has none.
        export_device: where the original modules run, "cpu" or "cuda".
        jobs: number of networks to export at a time.
        run: runs the exports.
        build: builds one engine plan.
    """

    fetch: Callable[[SetupPlan, SetupView], Iterable[str]]
    engines: EngineOptions | None = None
    export_device: str = "cpu"
    jobs: int = 1
    run: TaskRunner = run_isolated
    build: Build = build_in_own_process


def steps_of(plan: SetupPlan) -> list[str]:
    """Return the names of the steps of a plan, in order."""
    steps = ["weights"]
    if plan.graphs is not None:
        steps.append("export")
    if plan.engines is not None:
        steps.append("engines")
    return [*steps, "checks"]


def check_disks(plan: SetupPlan, free: FreeBytes, disk_of: Callable[[Path], int]) -> None:
    """Check that the disks have room for everything that the setup still makes.

    Args:
        plan: what is made.
        free: function from a folder to the free bytes of its file system.
        disk_of: function from a folder to the number of its file system.

    Raises:
        InvalidInput: one has not.
    """
    by_disk: dict[int, list[tuple[Path, int]]] = defaultdict(list)
    for folder, size_bytes in plan.missing_bytes():
        by_disk[disk_of(folder)].append((folder, size_bytes))
    remedy = "make room, or name other folders with --weights and --models"
    for needs in by_disk.values():
        names = ", ".join(f"'{folder}'" for folder, _ in needs)
        needed = sum(size_bytes for _, size_bytes in needs)
        check_room(f"{names} will take about", needed, needs[0][0], free=free, remedy=remedy)


def run_setup(plan: SetupPlan, tools: SetupTools, view: SetupView) -> None:
    """Carry out the steps of a plan.

    Raises:
        RespinError: a step failed; what is done stays, and the same setup goes on from there.
    """
    with view.step("weights"):
        for sentence in _weights(plan, tools, view):
            view.line(sentence)
    if plan.graphs is not None:
        with view.step("export"):
            _export(plan, plan.graphs, tools, view)
    if plan.graphs is not None and plan.engines is not None and tools.engines is not None:
        with view.step("engines"):
            _engines(plan.graphs, plan.engines, tools.engines, tools.build, view)
    with view.step("checks"):
        view.line(_checkpoints(plan.weights))
        for folder in (plan.graphs, plan.engines):
            if folder is not None:
                view.line(_checked(folder))


def _weights(plan: SetupPlan, tools: SetupTools, view: SetupView) -> Iterable[str]:
    if not plan.is_synthesized:
        return tools.fetch(plan, view)
    return [f"{plan.weights}: random weights of `respin weights synthesize`; nothing is fetched"]


def _export(plan: SetupPlan, folder: Path, tools: SetupTools, view: SetupView) -> None:
    source = PublishedWeights(plan.weights)
    options = {"precision": plan.chosen_precision, "slim": False, "device": tools.export_device}
    export = ExportPlan(
        folder, plan.set_name, source.sizes, list(NETWORKS), source, options, tools.jobs, source.ungated
    )
    check_exported(export_set(export, ExportBar(view.progress, list(NETWORKS)).follow, tools.run), len(NETWORKS))


def _engines(graphs: Path, engines: Path, options: EngineOptions, build: Build, view: SetupView) -> None:
    report = build_engines(graphs, engines, options, progress=partial(engine_bar, view.progress), build=build)
    for name in report.kept:
        view.line(f"{name}: up to date")
    for name, record in report.built.items():
        view.line(f"{name}: {record.build_s:.0f} s, {record.size_bytes / 2**20:.0f} MiB")
    report.check()


def _checkpoints(weights: Path) -> str:
    """Check that the checkpoint of every network is there, and return a sentence about them."""
    found = {name: find_checkpoint(name, weights) for name in dict.fromkeys(CHECKPOINT_OF.values())}
    return f"{weights}: checkpoints {', '.join(found)}"


def _checked(folder: Path) -> str:
    """Check a set, and return a sentence about it."""
    made = ModelSet.load(folder)
    if lacking := [network for network in NETWORKS if network not in made.networks]:
        raise ContractMismatch(f"'{folder}' lacks {', '.join(lacking)}; run the same command again")
    made.verify(folder)
    sentence = f"{folder}: {len(made.networks)} networks in {made.precision}, {made.size_bytes / 2**20:.0f} MiB, "
    errors = [
        (float(error), f"{network} {output}")
        for network, outputs in mapping_of(made.origin.get("parity")).items()
        for output, error in mapping_of(outputs).items()
    ]
    worst = f"; greatest error {max(errors)[0]:.1e} ({max(errors)[1]})" if errors else ""
    return f"{sentence}checksums right{worst}"
