"""Tables of patterns that rename parameters from the authors' names to the maintained libraries' names.

Every rule of a table is applied to every name, in order, by `re.sub`. `{a,b,c}` in a new name splits the tensor along
its first axis into equal parts, one for each name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

Rules = tuple[tuple[str, str], ...]

_SWIN = "model.backbone.conv_encoder.model"

GROUNDING_DINO: Rules = (
    (r"^backbone\.0\.patch_embed\.proj\.", f"{_SWIN}.swin.embeddings.patch_embeddings.projection."),
    (r"^backbone\.0\.patch_embed\.norm\.", f"{_SWIN}.swin.embeddings.norm."),
    (r"^backbone\.0\.layers\.", f"{_SWIN}.swin.encoder.layers."),
    (r"^backbone\.0\.norm1\.", f"{_SWIN}.hidden_states_norms.stage2."),
    (r"^backbone\.0\.norm2\.", f"{_SWIN}.hidden_states_norms.stage3."),
    (r"^backbone\.0\.norm3\.", f"{_SWIN}.hidden_states_norms.stage4."),
    (r"(\.swin\..*)\.norm1\.", r"\1.layernorm_before."),
    (r"(\.swin\..*)\.norm2\.", r"\1.layernorm_after."),
    (r"(\.swin\..*)\.attn\.qkv\.", r"\1.attention.{q_proj,k_proj,v_proj}."),
    (r"(\.swin\..*)\.attn\.proj\.", r"\1.attention.o_proj."),
    (r"(\.swin\..*)\.attn\.(relative_position_bias_table)", r"\1.attention.relative_position_bias.\2"),
    (r"^input_proj\.", "model.input_proj_vision."),
    (r"^bert\.", "model.text_backbone."),
    (r"^feat_map\.", "model.text_projection."),
    (r"^transformer\.encoder\.layers\.(\d+)\.", r"model.encoder.layers.\1.deformable_layer."),
    (r"^transformer\.encoder\.text_layers\.(\d+)\.", r"model.encoder.layers.\1.text_enhancer_layer."),
    (r"^transformer\.encoder\.fusion_layers\.(\d+)\.", r"model.encoder.layers.\1.fusion_layer."),
    (r"^transformer\.tgt_embed\.", "model.query_position_embeddings."),
    (r"^transformer\.enc_out_bbox_embed\.", "model.encoder_output_bbox_embed."),
    (r"^transformer\.decoder\.norm\.", "model.decoder.layer_norm."),
    (r"^transformer\.decoder\.ref_point_head\.", "model.decoder.reference_points_head."),
    (r"^transformer\.", "model."),
    (r"\.deformable_layer\.norm1\.", ".deformable_layer.self_attn_layer_norm."),
    (r"\.deformable_layer\.norm2\.", ".deformable_layer.final_layer_norm."),
    (r"\.text_enhancer_layer\.norm1\.", ".text_enhancer_layer.layer_norm_before."),
    (r"\.text_enhancer_layer\.norm2\.", ".text_enhancer_layer.layer_norm_after."),
    (r"\.fusion_layer\.gamma_v$", ".fusion_layer.vision_param"),
    (r"\.fusion_layer\.gamma_l$", ".fusion_layer.text_param"),
    (r"\.fusion_layer\.(.*)v(_proj)?\.(weight|bias)$", r".fusion_layer.\1vision\2.\3"),
    (r"\.fusion_layer\.(.*)l(_proj)?\.(weight|bias)$", r".fusion_layer.\1text\2.\3"),
    (r"^(model\.decoder\.layers\.\d+)\.norm1\.", r"\1.encoder_attn_layer_norm."),
    (r"^(model\.decoder\.layers\.\d+)\.norm2\.", r"\1.self_attn_layer_norm."),
    (r"^(model\.decoder\.layers\.\d+)\.norm3\.", r"\1.final_layer_norm."),
    (r"\.catext_norm\.", ".encoder_attn_text_layer_norm."),
    (r"\.ca_text\.", ".encoder_attn_text."),
    (r"\.cross_attn\.", ".encoder_attn."),
    (r"\.linear([12])\.", r".fc\1."),
    (r"\.in_proj_(weight|bias)$", r".{query,key,value}.\1"),
)
"""IDEA-Research/GroundingDINO -> transformers' GroundingDinoForObjectDetection."""

GROUNDING_DINO_LEFTOVERS = (
    r"^label_enc\.",
    r"^bert\.pooler\.",
    r"\.embeddings\.position_ids$",
    r"\.relative_position_index$",
    r"\.attn_mask$",
)
"""Names that the library does not use: of training, of BERT's pooler, and of computed tables."""

SAM: Rules = (
    (r"^image_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^image_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^image_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^image_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^image_encoder\.", "vision_encoder."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "shared_image_embedding.positional_embedding"),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"(\.iou_prediction_head|_mlps\.\d+)\.layers\.0\.", r"\1.proj_in."),
    (r"(\.iou_prediction_head|_mlps\.\d+)\.layers\.2\.", r"\1.proj_out."),
    (r"(\.iou_prediction_head|_mlps\.\d+)\.layers\.1\.", r"\1.layers.0."),
    (r"\.norm([1-4])\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
)
"""facebookresearch/segment-anything -> transformers' SamModel, whose two position embeddings are one tensor."""

CLIP_VISION: Rules = (
    (r"^proj$", "visual_projection.weight"),
    (r"^class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^ln_pre\.", "vision_model.pre_layrnorm."),
    (r"^ln_post\.", "vision_model.post_layernorm."),
    (r"^transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"\.attn\.in_proj_(weight|bias)$", r".self_attn.{q_proj,k_proj,v_proj}.\1"),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
"""openai/CLIP's image tower -> transformers' CLIPVisionModelWithProjection; `proj` must be transposed."""

ATTENTION_OF_2022 = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Layers of the VAE's attention: diffusers' names of 2022 and its names of today."""

VAE_ATTENTION: Rules = tuple(
    (rf"(attentions\.\d+)\.{then}\.", rf"\1.{now}.") for then, now in ATTENTION_OF_2022.items()
)
"""diffusers' VAE of 2022, when the folders of Stable Diffusion 1.5 were written -> diffusers' VAE of today."""

_SEVERAL = re.compile(r"(.*)\{(.*)\}(.*)")


def rename_tensors(
    tensors: Mapping[str, Tensor], rules: Rules, *, leftovers: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Return tensors under a library's names.

    Args:
        tensors: tensors under the authors' names.
        rules: one of the tables; names without a rule stay.
        leftovers: patterns of the authors' names to leave out.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not any(re.search(pattern, name) for pattern in leftovers):
            state.update(_parts(rename(name, rules), tensor))
    return state


def rename(name: str, rules: Rules) -> str:
    """Apply all rules of a table to a name."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _parts(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    several = _SEVERAL.fullmatch(name)
    if several is None:
        yield name, tensor
        return
    start, names, end = several.groups()
    parts = names.split(",")
    yield from zip((start + part + end for part in parts), tensor.tensor_split(len(parts)), strict=True)
