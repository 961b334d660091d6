"""The training loop: resumable, averaged, and honest about where it stands."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from respin_export.training.loop import TrainingSchedule, fit, load_weights
from respin_export.training.run_files import CURVE


@dataclass
class Line:
    """Fits y = 3 x + 1 from noisy points."""

    name: str = "line"
    schedule: TrainingSchedule = field(
        default_factory=lambda: TrainingSchedule(steps=60, batch=32, learning_rate=0.2, warmup=5, evaluate_every=20)
    )

    def build(self):
        return nn.Linear(1, 1)

    def batch(self, size, generator, progress):
        x = torch.from_numpy(generator.uniform(-1, 1, (size, 1))).float()
        return {"x": x, "y": 3 * x + 1}

    def loss(self, module, batch):
        return ((module(batch["x"]) - batch["y"] + 0.01 * torch.randn_like(batch["y"])) ** 2).mean()

    def evaluate(self, module):
        return {"slope": module.weight.item(), "score": -abs(module.weight.item() - 3)}


def test_the_averaged_weights_learn_the_task(tmp_path):
    module = fit(Line(), tmp_path)
    assert module.weight.item() == pytest.approx(3, abs=0.1)
    assert module.bias.item() == pytest.approx(1, abs=0.1)


def test_a_run_that_was_stopped_and_resumed_ends_where_one_that_ran_through_does(tmp_path):
    through = fit(Line(), tmp_path / "through")
    stopped = fit(Line(), tmp_path / "stopped", stop_after_s=0)
    assert len((tmp_path / "stopped" / CURVE).read_text().splitlines()) == 2
    resumed = fit(Line(), tmp_path / "stopped")
    assert not torch.equal(stopped.weight, resumed.weight)
    torch.testing.assert_close(resumed.weight, through.weight)


def test_another_seed_is_another_run(tmp_path):
    one, other = (fit(Line(), tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert not torch.equal(one.weight, other.weight)


def test_training_stops_early_once_the_score_no_longer_rises(tmp_path):
    task = Line()
    task.schedule = replace(task.schedule, steps=4000, patience=2)
    reported = []
    fit(task, tmp_path, on_progress=reported.append)
    assert reported[-1].step < 4000


def test_a_run_starts_from_weights_that_lie_in_its_folder(tmp_path):
    fit(Line(), tmp_path / "first")
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / "weights.safetensors").rename(tmp_path / "second" / "weights.safetensors")
    task = Line()
    task.schedule = replace(task.schedule, steps=1, evaluate_every=1, learning_rate=1e-6)
    assert fit(task, tmp_path / "second").weight.item() == pytest.approx(3, abs=0.1)


def test_weights_are_kept_in_half_precision_and_read_in_float32(tmp_path):
    module = fit(Line(), tmp_path)
    kept = load_weights(tmp_path)
    assert kept["weight"].dtype == torch.float32
    torch.testing.assert_close(kept["weight"], module.weight.half().float())
    with pytest.raises(FileNotFoundError, match="no weights"):
        load_weights(tmp_path / "nowhere")
