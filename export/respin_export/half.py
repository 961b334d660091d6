"""Turn a network into one that computes in float16, inside the float32 inputs and outputs of its contract.

TensorRT takes the precision from the graph, so each change of dtype has to stand in it. Kept in float32, because
float16 ends at 65504 and has 11 bits: normalisations (their variance overflows), coordinates and what they are sampled
by, top-k scores, logits, and guidance, which multiplies rounding errors.
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
"""SAM's LayerNorm2d is among them: the library derives it from LayerNorm."""


def to_half(module: nn.Module) -> nn.Module:
    """Let a network compute in float16 where its dtype's range and precision are enough.

    Args:
        module: one of `respin_export.networks`, or one that holds it; changed in place, its float32 weights are gone.

    Returns:
        the same module; it takes and gives float32 as before.

    Raises:
        TypeError: it holds no network that is known here.
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
        module: of one dtype.
        inputs: what its arguments become; None = they stay.
        outputs: what its results become; None = they stay.
        untouched: positions of arguments that stay.
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
        """Run the module."""
        positional = [
            value if place in self.untouched else _cast(value, self.inputs) for place, value in enumerate(arguments)
        ]
        result = self.module(*positional, **{name: _cast(value, self.inputs) for name, value in options.items()})
        if isinstance(result, tuple):
            return tuple(_cast(value, self.outputs) for value in result)
        return _cast(result, self.outputs)


class Float32Norm(nn.Module):
    """A normalisation in float32 whose result has the dtype of what came in."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm.float()

    def forward(self, values: Tensor) -> Tensor:
        """Normalise."""
        return cast(Tensor, self.norm(values.float())).to(values.dtype)


def _cast(value: Any, dtype: torch.dtype | None) -> Any:
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if floating and dtype is not None else value


def _half(module: Any) -> Any:
    """The module in float16, but for its normalisations; the libraries' modules have no types."""
    module.half()
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, NORMS) and not isinstance(parent, Float32Norm):
                setattr(parent, name, Float32Norm(child))
    return module


def _half_within(module: Any, untouched: tuple[int, ...] = ()) -> Cast:
    """The module in float16, taking and giving float32."""
    return Cast(_half(module), torch.float16, torch.float32, untouched)


def _plan_unet(network: Zero123UNet | InpaintUNet) -> None:
    # The time step stays: its sine embedding is made in float32.
    network.unet = _half_within(network.unet, untouched=(1,))


def _plan_vae_encoder(network: VaeEncoder) -> None:
    network.encoder = _half_within(network.encoder)


def _plan_vae_decoder(network: VaeDecoder) -> None:
    network.decoder = _half_within(network.decoder)


def _plan_edsr(network: Edsr) -> None:
    # The mean colour is added in float32: 0..255 in float16 is good to an eighth.
    network.head = nn.Sequential(Cast(_half(network.head), inputs=torch.float16))
    _half(network.body)
    network.tail = nn.Sequential(Cast(_half(network.tail), outputs=torch.float32))


def _plan_sam_encoder(network: SamEncoder) -> None:
    # A fifth more arithmetic, which a GPU has to spare; a processor, for which float32 is, has not.
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
    # The embedding of the pixels casts them itself; the camera never leaves float32.
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
    # Positions are sampled at float32 coordinates; what was found there goes on in float16.
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
    """Sines of whole positions, computed in float32 and rounded once."""
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
