"""Weights folders in the published layouts, at reduced sizes: the four that have reference outputs, and inpainting."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from reference_files import REFERENCE, tensors


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def reference():
    """(name of a folder below tests/reference) -> its outputs."""
    return lambda layout: np.load(REFERENCE / layout / "reference.npz")


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A weights folder with four reduced checkpoints under the published files' names."""
    folder = tmp_path_factory.mktemp("weights")
    for checkpoint, layout, name, wrap in (
        ("grounding_dino", "groundingdino/reduced", "groundingdino_swint_ogc.pth", lambda state: {"model": state}),
        ("sam", "sam/reduced", "sam_vit_l_0b3195.pth", lambda state: state),
        ("zero123", "zero123/reduced", "zero123-xl.ckpt", lambda state: {"global_step": 105000, "state_dict": state}),
        ("edsr", "edsr/reduced", "edsr_x4-4f62e9ef.pt", lambda state: state),
    ):
        (folder / checkpoint).mkdir()
        torch.save(wrap(tensors(layout)), folder / checkpoint / name)
        shutil.copy(REFERENCE / layout / "config.json", folder / checkpoint)
    return folder
