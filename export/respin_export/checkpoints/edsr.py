"""EDSR x4 from sanghyun-son/EDSR-PyTorch's .pt files: the paper's model or the baseline, recognised by shape."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import nn

from respin_export.checkpoints.checkpoint import Checkpoint, fill_module
from respin_export.networks.edsr import Edsr

EXPECTED = "an EDSR x4 checkpoint (edsr_x4-4f62e9ef.pt or edsr_baseline_x4-6b446fab.pt)"

RESIDUAL_SCALES = {256: 0.1, 64: 1.0}
"""Residual scale by number of features, of the paper's model and the baseline (EDSR-PyTorch, src/demo.sh)."""


def load(_network: str, path: Path, *, raw_weights: bool = False) -> nn.Module:
    """Fill the network `edsr`.

    Args:
        path: path of the .pt; for another number of features than the published ones a `config.json` beside it must say
            `res_scale`.
        raw_weights: ignored.

    Raises:
        InvalidInput: the file is not this checkpoint.
    """
    checkpoint = Checkpoint.read(path, EXPECTED)
    features = checkpoint.shape("head.0.weight", axes=4)[0]
    scale = checkpoint.config_value("res_scale", RESIDUAL_SCALES.get(features))
    # The numbered modules of `body` are the blocks and one last convolution.
    build = partial(Edsr, blocks=checkpoint.count("body.") - 1, features=features, residual_scale=scale)
    return fill_module(build, checkpoint.tensors, checkpoint)
