"""Weights folders in the published layouts, at reduced sizes: the four that have reference outputs, and inpainting."""

from __future__ import annotations

import pytest
import torch
from reference_files import ORIGINALS


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A weights folder with four reduced checkpoints under the published files' names."""
    folder = tmp_path_factory.mktemp("weights")
    ORIGINALS.write_weights(folder)
    return folder
