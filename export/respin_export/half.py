"""Convert a network to float16 arithmetic, with the float32 inputs and outputs of its contract.

TensorRT takes the precision from the graph, so the graph contains each cast. Some parts stay in float32, because
float16 ends at 65504 and has 11 bits: normalisations (their variance overflows), sampling coordinates, top-k scores,
logits, and guidance, which multiplies rounding errors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoContrastiveEmbedding,
    MultiScaleDeformableAttention,
)
from transformers.models.swin.modeling_swin import SwinPatchEmbeddings

from respin_export.networks.clip import ClipText, ClipVision
from respin_export.networks.edsr import Edsr
from respin_export.networks.grounding_dino import GroundingDino
from respin_export.networks.sam import SamDecoder, SamEncoder, move_positions_into_keys
from respin_export.networks.unet import InpaintUNet, Zero123UNet
from respin_export.networks.vae import VaeDecoder, VaeEncoder

NORMS = (nn.GroupNorm, nn.LayerNorm)
"""Normalisations that stay in float32; SAM's LayerNorm2d is a subclass of LayerNorm."""


def to_half(module: nn.Module) -> nn.Module:
    """Convert a network to float16 where its range and precision are enough.

    Args:
        module: a module of `respin_export.networks`, or one that contains it; it is changed in place.

    Returns:
        The same module; its inputs and outputs are still float32.

    Raises:
        TypeError: it contains no network with a conversion.
    """
    known = [part for part in module.modules() if type(part) in _PLANS]
    if not known:
        raise TypeError(f"{type(module).__name__} holds none of {[network.__name__ for network in _PLANS]}")
    for part in known:
        _PLANS[type(part)](part)
    return module.eval().requires_grad_(False)


class Cast(nn.Module):
    """A module with its floating-point arguments and results cast.

    Args:
        module: a module of one dtype.
        inputs: dtype of its arguments; None = not cast.
        outputs: dtype of its results; None = not cast.
        untouched: positions of arguments that are not cast.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: torch.dtype | None = None,
        outputs: torch.dtype | None = None,
        untouched: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.module = module
        self.inputs, self.outputs, self.untouched = inputs, outputs, untouched

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """Run the module with casts."""
        positional = [
            value if place in self.untouched else _cast(value, self.inputs) for place, value in enumerate(arguments)
        ]
        result = self.module(*positional, **{name: _cast(value, self.inputs) for name, value in options.items()})
        if isinstance(result, tuple):
            return tuple(_cast(value, self.outputs) for value in result)
        return _cast(result, self.outputs)


class Float32Norm(nn.Module):
    """A normalisation in float32 whose result has the dtype of its input."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm.float()

    def forward(self, values: Tensor) -> Tensor:
        """Normalise in float32."""
        return cast(Tensor, self.norm(values.float())).to(values.dtype)


def _cast(value: Any, dtype: torch.dtype | None) -> Any:
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if floating and dtype is not None else value


def _half(module: Any) -> Any:
    """Convert a module to float16, except its normalisations; the libraries' modules have no types."""
    module.half()
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, NORMS) and not isinstance(parent, Float32Norm):
                setattr(parent, name, Float32Norm(child))
    return module


def _half_within(module: Any, untouched: tuple[int, ...] = ()) -> Cast:
    """Convert a module to float16, with float32 inputs and outputs."""
    return Cast(_half(module), torch.float16, torch.float32, untouched)


def _plan_unet(network: Zero123UNet | InpaintUNet) -> None:
    # The time step is not cast: its sine embedding needs float32.
    network.unet = _half_within(network.unet, untouched=(1,))


def _plan_vae_encoder(network: VaeEncoder) -> None:
    network.encoder = _half_within(network.encoder)


def _plan_vae_decoder(network: VaeDecoder) -> None:
    network.decoder = _half_within(network.decoder)


def _plan_edsr(network: Edsr) -> None:
    # The mean colour is added in float32: the step of float16 at 255 is an eighth.
    network.head = nn.Sequential(Cast(_half(network.head), inputs=torch.float16))
    _half(network.body)
    network.tail = nn.Sequential(Cast(_half(network.tail), outputs=torch.float32))


def _plan_sam_encoder(network: SamEncoder) -> None:
    # A fifth more arithmetic, which is worth it on a GPU only; float32 graphs are for CPUs.
    move_positions_into_keys(network.encoder)
    encoder = _half(network.encoder)
    encoder.patch_embed = Cast(encoder.patch_embed, inputs=torch.float16)
    encoder.neck = Cast(encoder.neck, outputs=torch.float32)


def _plan_sam_decoder(network: SamDecoder) -> None:
    # The prompt encoder turns pixels into random Fourier features; the heads make the logits.
    decoder: Any = network.decoder
    decoder.transformer = _half_within(decoder.transformer)
    decoder.upscale_conv1 = Cast(decoder.upscale_conv1.half(), inputs=torch.float16)
    decoder.upscale_layer_norm = Float32Norm(decoder.upscale_layer_norm)
    decoder.upscale_conv2 = Cast(decoder.upscale_conv2.half(), outputs=torch.float32)


def _plan_clip_vision(network: ClipVision) -> None:
    # The pixel embedding casts its input itself; the camera stays float32.
    model = _half(network.model)
    model.visual_projection = Cast(model.visual_projection, outputs=torch.float32)


def _plan_clip_text(network: ClipText) -> None:
    model = _half(network.model)
    model.final_layer_norm = Cast(model.final_layer_norm, outputs=torch.float32)


def _plan_grounding_dino(network: GroundingDino) -> None:
    detector = _half(network.model)
    model = detector.model
    model.encoder_output_bbox_embed = Cast(model.encoder_output_bbox_embed.float(), torch.float32)
    for holder in (detector, model.decoder):
        holder.bbox_embed = nn.ModuleList(Cast(head.float(), torch.float32) for head in holder.bbox_embed)
    # Sampling takes float32 coordinates; the sampled values are cast to float16.
    for parent in list(detector.modules()):
        if isinstance(parent, SwinPatchEmbeddings):
            parent.projection = Cast(cast(nn.Module, parent.projection), torch.float16)
        for name, child in parent.named_children():
            if isinstance(child, MultiScaleDeformableAttention):
                setattr(parent, name, Cast(child, torch.float32, torch.float16))
            elif isinstance(child, GroundingDinoContrastiveEmbedding):
                setattr(parent, name, Cast(child, torch.float32))
    head = model.decoder.reference_points_head
    model.decoder.reference_points_head = Cast(head, torch.float16)
    # Anchors and the ranking of the candidates: a float16 score would tie hundreds of them.
    model.enc_output.float()
    model.generate_encoder_output_proposals = partial(_on_float32, model.generate_encoder_output_proposals)
    model.get_valid_ratio = partial(model.get_valid_ratio, dtype=torch.float32)
    for layer in model.encoder.layers:
        layer.get_text_position_embeddings = partial(_like_the_features, layer.get_text_position_embeddings)


def _on_float32(proposals: Callable[..., Any], features: Tensor, *rest: Any) -> Any:
    return proposals(features.float(), *rest)


def _like_the_features(embeddings: Callable[..., Tensor], features: Tensor, *rest: Any) -> Tensor:
    """Compute the sines of integer positions in float32, and round once."""
    return embeddings(features.float(), *rest).to(features.dtype)


_PLANS: dict[type[nn.Module], Callable[[Any], None]] = {
    Zero123UNet: _plan_unet,
    InpaintUNet: _plan_unet,
    VaeEncoder: _plan_vae_encoder,
    VaeDecoder: _plan_vae_decoder,
    Edsr: _plan_edsr,
    SamEncoder: _plan_sam_encoder,
    SamDecoder: _plan_sam_decoder,
    ClipVision: _plan_clip_vision,
    ClipText: _plan_clip_text,
    GroundingDino: _plan_grounding_dino,
}
