"""The training loop that all networks share: a schedule of steps, an averaged copy, checkpoints, a curve.

A run is a function of its task and its seed: batch and noise of a step depend on (seed, step) alone, so a run that
was stopped and resumed has the result of an uninterrupted one, up to rounding.
"""

from __future__ import annotations

import copy
import csv
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from respin_export.training.run_files import CHECKPOINT, CURVE, WEIGHTS

Batch = Mapping[str, Tensor]
Metrics = dict[str, float]

SMOOTHING = 0.98
"""Weight of the past in the running mean of the loss that the curve shows."""


@dataclass(frozen=True)
class TrainingSchedule:
    """The hyperparameters of a training run.

    Args:
        steps: number of optimizer steps.
        batch: number of samples in a step.
        learning_rate: learning rate after the warm-up.
        warmup: number of steps over which the learning rate rises from zero.
        decay: exponent of the fall to zero at the last step: rate * (1 - progress) ** decay.
        average: weight of the past in the averaged weights, once enough steps have passed.
        clip: largest norm of the gradient.
        weight_decay: weight decay of AdamW.
        beta2: decay of AdamW's second moment.
        evaluate_every: number of steps between evaluations and checkpoints.
        patience: evaluations without a better score after which training stops early; None = never.
    """

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 100
    decay: float = 0.8
    average: float = 0.995
    clip: float = 1.0
    weight_decay: float = 0.01
    beta2: float = 0.98
    evaluate_every: int = 500
    patience: int | None = 8

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        left = max(1 - step / self.steps, 0.01)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * math.pow(left, self.decay)


class TrainingTask(Protocol):
    """The task of a training run: network, data, loss and evaluation."""

    name: str
    schedule: TrainingSchedule

    def build(self) -> nn.Module:
        """Build the module with its initial weights."""

    def batch(self, size: int, generator: np.random.Generator, progress: float) -> Batch:
        """Draw a batch; `progress` is the share of all steps that have passed, 0..1."""

    def loss(self, module: Any, batch: Batch) -> Tensor:
        """Compute the loss of a batch."""

    def evaluate(self, module: Any) -> Metrics:
        """Measure on held-out data; a higher "score", if there is one, is better."""


@dataclass
class TrainingProgress:
    """The state of a run after an evaluation.

    Args:
        step: number of steps done.
        steps: number of all steps.
        loss: running mean of the loss.
        metrics: metrics of the latest evaluation.
        cpu_s: processor time of the run with resumed parts and evaluations, seconds.
    """

    step: int
    steps: int
    loss: float
    metrics: Metrics
    cpu_s: float


def fit(
    task: TrainingTask,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    on_progress: Callable[[TrainingProgress], None] = lambda _: None,
    stop_after_s: float | None = None,
) -> nn.Module:
    """Train a network, or continue from its checkpoint.

    Args:
        task: task of the training.
        folder: folder of the run; if it has weights but no checkpoint, training starts from them.
        seed: seed of batches and noise.
        device: "cpu" or "cuda".
        on_progress: called after each evaluation.
        stop_after_s: wall time after which the run stops at its next evaluation, to be resumed.

    Returns:
        The module with its averaged weights, in evaluation mode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run.open(task, folder, seed, device)
    began = time.monotonic()
    while not run.finished:
        run.advance()
        if run.is_due:
            on_progress(run.evaluate())
            run.save()
            if stop_after_s is not None and time.monotonic() - began > stop_after_s:
                break
    return run.average.eval()


def channels_last(module: nn.Module) -> nn.Module:
    """Change a module's kernels to the memory layout that is fastest on a CPU, in place, and return the module."""
    # The method's annotations lack the argument.
    change: Any = module.to
    laid_out: nn.Module = change(memory_format=torch.channels_last)
    return laid_out


def save_weights(weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write weights in float16, which is how the set stores them, into a run's folder.

    Args:
        weights: a module's `state_dict`; tensors that are not floating-point keep their type.
        folder: folder of the run.
    """
    stored = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).detach().cpu().contiguous().clone()
        for name, tensor in weights.items()
    }
    draft = folder / f"{WEIGHTS}.draft"
    save_file(stored, draft)
    os.replace(draft, folder / WEIGHTS)


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Read the averaged weights of a run, written by `save_weights`, in float32.

    Args:
        folder: folder of the run.

    Raises:
        FileNotFoundError: the run has not reached its first evaluation.
    """
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"no {WEIGHTS} in the run '{folder.name}'")
    stored = load_file(folder / WEIGHTS)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}


class _Run:
    """The state of a run."""

    def __init__(self, task: TrainingTask, folder: Path, seed: int, device: str) -> None:
        self.task, self.folder, self.seed, self.device = task, folder, seed, device
        torch.manual_seed(seed)
        self.module: nn.Module = channels_last(task.build().train().to(device))
        self.average: nn.Module = copy.deepcopy(self.module).eval().requires_grad_(False)
        self.parameters = [each for each in self.module.parameters() if each.requires_grad]
        schedule = task.schedule
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=schedule.learning_rate,
            betas=(0.9, schedule.beta2),
            weight_decay=schedule.weight_decay,
            fused=True,
        )
        self.step, self.loss, self.best, self.waited = 0, 0.0, -np.inf, 0
        self.cpu_s, self._cpu_before = 0.0, time.process_time()

    @classmethod
    def open(cls, task: TrainingTask, folder: Path, seed: int, device: str) -> _Run:
        run = cls(task, folder, seed, device)
        path = folder / CHECKPOINT
        if path.is_file():
            run._restore(torch.load(path, weights_only=True, map_location=device))
        elif (folder / WEIGHTS).is_file():
            run.module.load_state_dict(load_weights(folder))
            run.average.load_state_dict(run.module.state_dict())
        return run

    @property
    def finished(self) -> bool:
        patience = self.task.schedule.patience
        return self.step >= self.task.schedule.steps or (patience is not None and self.waited >= patience)

    @property
    def is_due(self) -> bool:
        return self.step % self.task.schedule.evaluate_every == 0 or self.finished

    def advance(self) -> None:
        """Take one step."""
        schedule = self.task.schedule
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.rate(self.step)
        generator = np.random.default_rng([self.seed, self.step])
        torch.manual_seed(int(generator.integers(2**62)))
        batch = self.task.batch(schedule.batch, generator, self.step / schedule.steps)
        loss = self.task.loss(self.module, {name: tensor.to(self.device) for name, tensor in batch.items()})
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, schedule.clip)
        self.optimizer.step()
        self.step += 1
        past = min(SMOOTHING, 1 - 1 / self.step)
        self.loss = past * self.loss + (1 - past) * loss.item()
        self._follow(min(schedule.average, self.step / (self.step + 20)))

    @torch.no_grad()
    def _follow(self, past: float) -> None:
        """Move the averaged weights towards the newest."""
        pairs = list(zip(self.average.parameters(), self.module.parameters(), strict=True))
        torch._foreach_lerp_([old for old, _ in pairs], [new for _, new in pairs], 1 - past)
        for old, new in zip(self.average.buffers(), self.module.buffers(), strict=True):
            old.copy_(new)

    def evaluate(self) -> TrainingProgress:
        # Held-out data stay on the CPU for any device.
        average = self.average if self.device == "cpu" else copy.deepcopy(self.average).cpu()
        with torch.no_grad():
            metrics = self.task.evaluate(average.eval())
        score = metrics.get("score", -self.loss)
        self.waited = 0 if score > self.best else self.waited + 1
        self.best = max(self.best, score)
        now = time.process_time()
        self.cpu_s, self._cpu_before = self.cpu_s + now - self._cpu_before, now
        progress = TrainingProgress(self.step, self.task.schedule.steps, self.loss, metrics, self.cpu_s)
        self._record(progress)
        return progress

    def _record(self, progress: TrainingProgress) -> None:
        path = self.folder / CURVE
        row = {
            "step": progress.step,
            "samples": progress.step * self.task.schedule.batch,
            "cpu_s": round(progress.cpu_s, 1),
            "seed": self.seed,
            "loss": round(progress.loss, 5),
            **{name: round(value, 4) for name, value in progress.metrics.items()},
        }
        new = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)

    def save(self) -> None:
        """Write the checkpoint in one step; a run that dies meanwhile keeps the one before."""
        state = {
            "task": self.task.name,
            "schedule": asdict(self.task.schedule),
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "numbers": {key: float(getattr(self, key)) for key in ("step", "loss", "best", "waited", "cpu_s")},
        }
        draft = self.folder / f"{CHECKPOINT}.draft"
        torch.save(state, draft)
        os.replace(draft, self.folder / CHECKPOINT)
        save_weights(self.average.state_dict(), self.folder)

    def _restore(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        numbers = state["numbers"]
        self.step, self.waited = int(numbers["step"]), int(numbers["waited"])
        self.loss, self.best, self.cpu_s = numbers["loss"], numbers["best"], numbers["cpu_s"]
