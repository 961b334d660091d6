"""GroundingDINO: candidate boxes for a photo and a tokenised caption, around transformers' class."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GroundingDinoForObjectDetection
from transformers.models.grounding_dino import modeling_grounding_dino as modeling
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoObjectDetectionOutput
from transformers.models.swin.modeling_swin import SwinLayer, SwinPatchEmbeddings, SwinPatchMerging

# The library's run-time shape checks have no ONNX counterpart (aten._is_all_true); it reads this at each check.
os.environ["TRANSFORMERS_DISABLE_TORCH_CHECK"] = "1"


class GroundingDino(nn.Module):
    """The network of the contract `grounding_dino`.

    The text masks are inputs, because the library computes them from the ids with operators that ONNX lacks, and the
    server needs the phrases anyway.

    Args:
        model: transformers' model with 900 queries and captions of 256 tokens.
    """

    def __init__(self, model: GroundingDinoForObjectDetection) -> None:
        super().__init__()
        # Eager BERT adds a boolean mask to the scores as 0 and 1 instead of masking by it.
        model.model.text_backbone.set_attn_implementation("sdpa")
        _pad_without_branches(model)
        self.model = model

    def forward(
        self,
        image: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        text_self_attention_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Find candidate boxes.

        Args:
            image: (B, 3, H, W) float32, RGB, ImageNet-normalised; its maps of stride 8 to 64 must hold 900 cells
                together (208 x 208 do), one for each query.
            input_ids: (B, 256) int64, padded with 0.
            attention_mask: (B, 256) bool, true on the caption.
            position_ids: (B, 256) int64, position of each token within its phrase.
            text_self_attention_mask: (B, 256, 256) bool, true where a token may see another.

        Returns:
            logits (B, 900, 256), -inf on padding, and boxes (B, 900, 4), (cx, cy, w, h) as fractions of the image.
        """
        found = self.outputs(image, input_ids, attention_mask, position_ids, text_self_attention_mask)
        return found.logits, found.pred_boxes

    def outputs(
        self,
        image: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        text_self_attention_mask: Tensor,
    ) -> GroundingDinoObjectDetectionOutput:
        """Return all outputs of the library's class, for training; arguments are those of `forward`."""
        text_masks = (text_self_attention_mask, position_ids)
        # The replaced functions have no ONNX operator, differ from the authors', or fix the traced lengths.
        with ExitStack() as swaps:
            for owner, name, ours in (
                (modeling, "generate_masks_with_special_tokens_and_transfer_map", lambda *_, **__: text_masks),
                (torch.special, "logit", inverse_sigmoid),
                (torch, "as_tensor", _tensor_from_sides),
                (torch, "linspace", _unit_steps),
            ):
                swaps.enter_context(_replace_function(owner, name, ours))
            return self.model(pixel_values=image, input_ids=input_ids, attention_mask=attention_mask)


def inverse_sigmoid(probability: Tensor, eps: float = 0.0) -> Tensor:
    """Return the logit of a probability, clamped to about +-6.9 as in training.

    The library clamps at 1e-5, the authors at 1e-3, which moves the boxes of queries near the image's border
    (IDEA-Research/GroundingDINO, groundingdino/util/misc.py, `inverse_sigmoid`).

    Args:
        probability: any shape, 0..1.
        eps: argument of the library's calls; ignored.
    """
    return torch.log(probability.clamp(min=1e-3) / (1 - probability).clamp(min=1e-3))


def _tensor_from_sides(sides: list[tuple[int, int]], *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the feature maps' heights and widths, (levels, 2); torch's `as_tensor` would fix the traced ones."""
    rows = [torch.stack([torch.scalar_tensor(side, dtype=dtype, device=device) for side in pair]) for pair in sides]
    return torch.stack(rows)


def _unit_steps(start: float, _end: float, steps: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the centres of a feature map's cells, one apart; torch's `linspace` would fix the traced count."""
    return torch.arange(steps, dtype=dtype, device=device) + start


@contextmanager
def _replace_function(owner: Any, name: str, value: Callable[..., Any]) -> Iterator[None]:
    """Replace a function of a module within the context."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _pad_without_branches(model: nn.Module) -> None:
    """Make Swin pad by arithmetic: its own `if`s would fix the traced height and width for good."""
    for module in model.modules():
        if isinstance(module, SwinPatchEmbeddings):
            module.maybe_pad = partial(_pad_image, multiple=module.patch_size[0])
        elif isinstance(module, SwinPatchMerging):
            module.maybe_pad = partial(_pad_map, multiple=2)
        elif isinstance(module, SwinLayer):
            module.maybe_pad = partial(_pad_windows, multiple=module.window_size)


def _padding(length: int, multiple: int) -> int:
    return (length + multiple - 1) // multiple * multiple - length


def _pad_image(pixels: Tensor, height: int, width: int, *, multiple: int) -> Tensor:
    return F.pad(pixels, (0, _padding(width, multiple), 0, _padding(height, multiple)))


def _pad_map(features: Tensor, height: int, width: int, *, multiple: int) -> Tensor:
    return F.pad(features, (0, 0, 0, _padding(width, multiple), 0, _padding(height, multiple)))


def _pad_windows(
    features: Tensor, height: int, width: int, *, multiple: int
) -> tuple[Tensor, tuple[int, int, int, int, int, int]]:
    # Said to be padded always, so that the layer always cuts back to height and width, which is right either way.
    return _pad_map(features, height, width, multiple=multiple), (0, 0, 0, 1, 0, 1)
