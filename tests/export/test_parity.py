"""What counts as the same answer of a graph and of its module."""

from __future__ import annotations

import numpy as np
import pytest

from respin.contracts import NETWORKS
from respin_export.errors import ExportMismatch
from respin_export.parity import compare_fp32

GROUNDING_DINO, EDSR = NETWORKS["grounding_dino"], NETWORKS["edsr"]


def detections(seed=0):
    generator = np.random.default_rng(seed)
    logits = generator.standard_normal((1, 900, 256)).astype(np.float32)
    logits[..., 7:] = -np.inf
    return logits, generator.uniform(0, 1, (1, 900, 4)).astype(np.float32)


def test_queries_may_stand_in_another_order():
    logits, boxes = detections()
    order = np.random.default_rng(1).permutation(900)
    compare_fp32(GROUNDING_DINO, (logits[:, order], boxes[:, order]), (logits, boxes))


def test_a_few_queries_may_have_swapped_ranks_but_not_many():
    logits, boxes = detections()
    moved = boxes.copy()
    moved[:, :8] += 0.1
    compare_fp32(GROUNDING_DINO, (logits, moved), (logits, boxes))
    moved[:, :20] += 0.1
    with pytest.raises(ExportMismatch, match="boxes and scores"):
        compare_fp32(GROUNDING_DINO, (logits, moved), (logits, boxes))


@pytest.mark.parametrize("output", [0, 1])
def test_detections_that_are_not_numbers_are_refused(output):
    got = [array.copy() for array in detections()]
    got[output][0, 5, 0] = np.nan
    with pytest.raises(ExportMismatch, match="nan"):
        compare_fp32(GROUNDING_DINO, got, detections())


def test_a_padded_token_that_scores_is_refused():
    logits, boxes = detections()
    scored = logits.copy()
    scored[..., 100] = 9
    with pytest.raises(ExportMismatch):
        compare_fp32(GROUNDING_DINO, (scored, boxes), (logits, boxes))


@pytest.mark.parametrize("wrong", [1.0, np.nan, np.inf])
def test_one_wrong_value_is_enough_to_refuse_a_tensor(wrong):
    wanted = np.full((1, 3, 8, 8), 100, np.float32)
    noisy = wanted + 1e-3
    compare_fp32(EDSR, [noisy], [wanted])
    noisy[0, 0, 0, 0] = wrong
    with pytest.raises(ExportMismatch, match="upscaled"):
        compare_fp32(EDSR, [noisy], [wanted])


def test_outputs_of_another_shape_are_not_stretched_to_fit():
    with pytest.raises(ExportMismatch, match="upscaled"):
        compare_fp32(EDSR, [np.ones((2, 3, 8, 8), np.float32)], [np.ones((1, 3, 8, 8), np.float32)])
