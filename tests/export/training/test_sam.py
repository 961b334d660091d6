"""SAM's training: samples in the job's own frame, a loss that prefers right masks, weights that reach the contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from respin.geometry import Size, bounding_box, fit_longest_side
from respin_ensemble.stages.segmentation import prepare_image
from respin_export.training.composites import draw_composite, draw_texture
from respin_export.training.loop import fit
from respin_export.training.sam import (
    BOX_JITTER,
    SamTask,
    augment,
    fit_to_frame,
    intersection_over_union,
    jitter_box,
    load_trained_sam,
    mask_errors,
)
from respin_export.training.scenes import render_photos, render_white


def frame(seed=0, height=96, width=128):
    """A grey picture with a bright rectangle."""
    generator = np.random.default_rng(seed)
    picture, mask = generator.integers(90, 110, (height, width, 3)).astype(np.uint8), np.zeros((height, width), bool)
    mask[30:70, 50:90] = True
    picture[mask] = 220
    return picture, mask, np.array([50.0, 30, 90, 70])


def test_a_picture_enters_the_network_as_the_job_prepares_it():
    picture, mask, box = frame(height=99, width=131)
    sample = fit_to_frame(picture, mask, box)
    fit = fit_longest_side(Size.from_array(picture), 256)
    np.testing.assert_allclose(sample["image"], prepare_image(picture, fit), atol=1e-5)
    top, left = np.argwhere(sample["mask"][0] > 0.5).min(axis=0)
    np.testing.assert_allclose(sample["box"][:2] / 2, [left, top], atol=0.6)
    assert sample["valid"][0, : fit.fitted.height // 2].all()
    assert not sample["valid"][0, fit.fitted.height // 2 + 1 :].any()


def test_sides_of_a_box_move_a_little_and_stay_within_the_picture():
    boxes = [jitter_box(np.array([0.0, 10, 50, 60]), (60, 200), np.random.default_rng(seed)) for seed in range(50)]
    shifts = np.abs(np.array(boxes) - [0, 10, 50, 60])
    assert 0.5 * BOX_JITTER * 50 < shifts.max() <= BOX_JITTER * 50
    assert min(box.min() for box in boxes) == 0
    assert max(box[3] for box in boxes) == 60


@pytest.mark.parametrize("seed", range(8))
def test_augmentation_keeps_the_object_whole_and_in_its_box(seed):
    _, before, _ = frame()
    picture, mask, box = augment(frame(), np.random.default_rng(seed))
    assert picture.dtype == np.uint8
    assert picture.shape[:2] == mask.shape
    assert mask.sum() == before.sum()
    np.testing.assert_allclose(box, bounding_box(mask).box.to_array(), atol=BOX_JITTER * 40 + 1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_a_composite_changes_its_ground_where_its_object_is(seed):
    generator = np.random.default_rng(seed)
    ground = draw_texture(64, 96, generator)
    picture, mask = draw_composite(ground, generator)
    assert mask.any()
    assert (picture != ground)[mask].any(axis=-1).mean() > 0.9


def test_a_right_mask_errs_less_than_a_shifted_one_and_padding_does_not_count():
    wanted = torch.zeros(1, 1, 32, 32)
    wanted[..., 8:20, 8:20] = 1
    valid = torch.ones_like(wanted)
    valid[..., 24:, :] = 0
    right = 8 * (wanted - 0.5)
    on_padding = torch.where(valid > 0, right, 8.0)
    logits = torch.cat([right, on_padding, right.roll(2, dims=3), -right], dim=1)
    errors = mask_errors(logits, wanted, valid)[0]
    torch.testing.assert_close(errors[0], errors[1])
    assert errors[0] < 0.5 * errors[2] < 0.5 * errors[3]
    iou = intersection_over_union(logits > 0, wanted > 0.5)[0]
    assert iou[0] == 1
    assert iou[2] == pytest.approx(10 / 14)


@pytest.fixture
def data(tmp_path):
    """Training and held-out data of a few scenes."""
    for name, arrays in {"photos": render_photos([0, 1]), "white": render_white([0])}.items():
        for folder in (name, f"{name}-held-out"):
            path = tmp_path / folder / "chunk-0000"
            path.mkdir(parents=True)
            for key, array in arrays.items():
                np.save(path / f"{key}.npy", array)
    return tmp_path


@torch.inference_mode()
def test_trained_weights_make_the_two_networks_of_the_contracts(data, tmp_path):
    task = SamTask(data)
    task.schedule = replace(task.schedule, steps=2, batch=2, evaluate_every=2)
    with torch.inference_mode(False):
        trained = fit(task, tmp_path / "run")
    encoder, decoder = load_trained_sam(tmp_path / "run")
    image, box = torch.randn(1, 3, 256, 256), torch.tensor([[30.0, 40, 200, 220]])
    masks, predicted_iou = decoder(encoder(image), box)
    assert masks.shape == (1, 4, 64, 64)
    torch.testing.assert_close((masks, predicted_iou), trained(image, box), atol=1e-3, rtol=1e-3)
    assert 0 <= predicted_iou.min() <= predicted_iou.max() <= 1
