"""Random initial values where the libraries' own would disable parts of a network.

The libraries start some weights at zero for training, and SAM's near zero for a checkpoint to overwrite.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import GroundingDinoForObjectDetection, SamModel

_GROUNDING_DINO_SPREADS = {
    "layers.2.weight": 0.02,  # box heads
    "sampling_offsets.weight": 0.02,
    "attention_weights.weight": 0.05,
    "relative_position_bias_table": 0.05,
}
_SAM_SPREADS = {"rel_pos_h": 0.2, "rel_pos_w": 0.2, "pos_embed": 0.2, "positional_embedding": 1.0}

FUSION_SHARE = 0.3
"""Value of GroundingDINO's vision_param and text_param; at the library's 1e-4, image and text would not interact."""


@torch.no_grad()
def fill_grounding_dino(model: GroundingDinoForObjectDetection) -> None:
    """Fill GroundingDINO's weights so that boxes, sampling points and fusion depend on their inputs."""
    _spread(model, _GROUNDING_DINO_SPREADS)
    for name, parameter in model.named_parameters():
        if name.endswith(("vision_param", "text_param")):
            parameter.fill_(FUSION_SHARE)


@torch.no_grad()
def fill_sam(model: SamModel) -> None:
    """Fill SAM's weights with torch's default spread, and its positions.

    The library's spread of 1e-10 is meant to be overwritten by a checkpoint; training cannot start from it.
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)):
            module.reset_parameters()
    _spread(model, _SAM_SPREADS)


def _spread(model: nn.Module, spreads: dict[str, float]) -> None:
    for name, parameter in model.named_parameters():
        for ending, spread in spreads.items():
            if name.endswith(ending):
                parameter.normal_(0, spread)
