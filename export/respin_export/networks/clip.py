"""CLIP: the image tower with Zero123's pose projection, and the text tower, around transformers' classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPVisionModelWithProjection


class ClipVision(nn.Module):
    """The network of the contract `clip_vision`.

    Args:
        model: OpenAI's image tower (quick_gelu); its joint embedding is not L2-normalised here.
        cc_projection: layer from the joint embedding and the camera's four numbers to the UNet's context width.
    """

    def __init__(self, model: CLIPVisionModelWithProjection, cc_projection: nn.Linear) -> None:
        super().__init__()
        self.model = model
        self.cc_projection = cc_projection

    def forward(self, image: Tensor, camera: Tensor) -> Tensor:
        """Encode an object's picture and a camera move (cvlab-columbia/zero123, zero123/gradio_new.py).

        Args:
            image: (B, 3, 224, 224) float32, normalised by CLIP's mean and std.
            camera: (B, 4) float32: polar in radians, sin and cos of azimuth, radius.

        Returns:
            (B, 1, 768) float32.
        """
        embedding = self.model(pixel_values=image).image_embeds
        context: Tensor = self.cc_projection(torch.cat([embedding, camera], dim=-1))
        return context[:, None]


class ClipText(nn.Module):
    """The network of the contract `clip_text`."""

    def __init__(self, model: CLIPTextModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """Encode a prompt.

        Args:
            input_ids: (B, 77) int64, padded with the end token.

        Returns:
            (B, 77, 768) float32: the last hidden state, after the final LayerNorm.
        """
        context: Tensor = self.model(input_ids=input_ids).last_hidden_state
        return context
