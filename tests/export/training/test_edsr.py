"""EDSR's training: inputs as the job's are, and weights that reach the class of the contract unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from respin_export.mini.edsr import TrainedEdsr, to_edsr
from respin_export.training.edsr import (
    NOISE_LEVELS,
    EdsrTask,
    add_faults,
    enlarge,
    enlarge_bicubic,
    load_trained_edsr,
    mean_psnr,
    shrink,
)
from respin_export.training.loop import fit
from respin_export.training.scenes import render_photos


def disturbed(seed=0):
    """The trained form with weights far from its initial ones."""
    torch.manual_seed(seed)
    network = TrainedEdsr().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


@torch.inference_mode()
def test_the_papers_class_computes_what_was_trained():
    network, image = disturbed(), 255 * torch.rand(2, 3, 12, 17)
    with torch.inference_mode(False):
        edsr = to_edsr(network)
    torch.testing.assert_close(edsr(image), network(image), atol=2e-3, rtol=0)


@torch.inference_mode()
def test_before_training_a_picture_is_enlarged_bilinearly():
    image = 255 * torch.rand(1, 3, 10, 12)
    wanted = F.interpolate(image, scale_factor=4.0, mode="bilinear", align_corners=False)
    # Beyond the border there is the mean colour, not the border repeated.
    torch.testing.assert_close(TrainedEdsr().eval()(image)[..., 4:-4, 4:-4], wanted[..., 4:-4, 4:-4], atol=1e-3, rtol=0)


def test_a_small_picture_is_the_mean_of_blocks():
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    means = picture.reshape(4, 4, 6, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrink(picture) - means).max() <= 0.5 + 1e-6


def test_faults_are_small_and_do_not_move_edges():
    picture = np.full((40, 40, 3), 60, np.uint8)
    picture[:, 20:] = 200
    faulty = np.stack([add_faults(picture, np.random.default_rng(seed)) for seed in range(20)])
    errors = np.abs(faulty.astype(float) - picture).mean(axis=(1, 2, 3))
    assert 1 < errors.max() < NOISE_LEVELS
    assert np.abs(faulty.astype(float).mean(axis=0) - picture)[:, [10, 30]].mean() < 1


@torch.inference_mode()
def test_trained_weights_make_the_network_of_the_contract(tmp_path):
    arrays = {
        "photos": {"photo": render_photos([0])["photo"]},
        "large-views": {"image": render_photos([1])["photo"][:, :, :384]},
    }
    for name, columns in arrays.items():
        for folder in (name, f"{name}-held-out"):
            path = tmp_path / folder / "chunk-0000"
            path.mkdir(parents=True)
            for key, array in columns.items():
                np.save(path / f"{key}.npy", array)
    task = EdsrTask(tmp_path)
    task.schedule = replace(task.schedule, steps=2, batch=2, evaluate_every=2)
    with torch.inference_mode(False):
        trained = fit(task, tmp_path / "run")
        edsr = load_trained_edsr(tmp_path / "run")
    image = 255 * torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(edsr(image), trained(image), atol=0.05, rtol=0)
    picture = arrays["photos"]["photo"][0]
    assert enlarge(edsr, shrink(picture)).shape == enlarge_bicubic(shrink(picture)).shape == picture.shape
    assert mean_psnr([picture], [picture]) > 100
