"""The contracts of the ten networks.

Shapes leave out the batch axis. Inputs and outputs are float32, whatever precision the graph computes in, so that a
set's precision changes no client. `timestep` and `guidance` are per sample: samples at different steps, of
different requests, share one batch. Classifier-free guidance happens inside the two UNets (the graph doubles each
sample), so one batch slot is one view.
"""

from __future__ import annotations

from respin.specs import BATCH_NAME, Axis, DType, ModelSpec, TensorSpec

CAPTION_TOKENS = 256
"""Length of GroundingDINO's caption; shorter ones are padded with id 0."""

QUERIES = 900
"""Candidate boxes that GroundingDINO returns."""

PROMPT_TOKENS = 77
"""Length of a CLIP text prompt."""

CONTEXT_WIDTH = 768
"""Width of CLIP ViT-L/14's joint embedding and of both UNets' cross-attention."""


def _batch(usual: int, largest: int) -> Axis:
    return Axis(BATCH_NAME, 1, usual, largest)


DETECTION_HEIGHT = Axis("height", 64, 800, 1333, set_limits=("detection_long_side",))
DETECTION_WIDTH = Axis("width", 64, 1066, 1333, set_limits=("detection_long_side",))

SAM_SIDE = Axis("sam_side", 256, 1024, 1024, multiple_of=16, set_size="sam_side")
SAM_GRID = SAM_SIDE.divided_by(16, "sam_grid")
SAM_MASK_SIDE = SAM_SIDE.divided_by(4, "sam_mask_side")

VIEW_SIDE = Axis("view_side", 64, 256, 256, multiple_of=64, set_size="view_side")
VIEW_LATENT_SIDE = VIEW_SIDE.divided_by(8, "view_latent_side")

# The UNets halve their latents three times: sides in pixels are multiples of 8 * 8.
IMAGE_HEIGHT = Axis("height", 64, 512, 768, multiple_of=64, set_limits=("view_side", "inpaint_side"))
IMAGE_WIDTH = Axis("width", 64, 512, 768, multiple_of=64, set_limits=("view_side", "inpaint_side"))
LATENT_HEIGHT = IMAGE_HEIGHT.divided_by(8, "latent_height")
LATENT_WIDTH = IMAGE_WIDTH.divided_by(8, "latent_width")

SMALL_HEIGHT = Axis("height", 32, 256, 512, set_limits=("view_side",))
SMALL_WIDTH = Axis("width", 32, 256, 512, set_limits=("view_side",))
LARGE_HEIGHT = Axis("large_height", 128, 1024, 2048, multiple_of=4)
LARGE_WIDTH = Axis("large_width", 128, 1024, 2048, multiple_of=4)

GROUNDING_DINO = ModelSpec(
    name="grounding_dino",
    summary="GroundingDINO Swin-T: a photo and a caption to candidate boxes",
    batch=_batch(1, 4),
    served_batch=1,
    inputs=(
        TensorSpec(
            "image", DType.FP32, (3, DETECTION_HEIGHT, DETECTION_WIDTH), "RGB, ImageNet-normalised; 208x208 or more"
        ),
        TensorSpec("input_ids", DType.INT64, (CAPTION_TOKENS,), "WordPiece ids of the caption, padded with 0"),
        TensorSpec("attention_mask", DType.BOOL, (CAPTION_TOKENS,), "true on the caption, false on padding"),
        TensorSpec("position_ids", DType.INT64, (CAPTION_TOKENS,), "position of each token within its phrase"),
        TensorSpec(
            "text_self_attention_mask",
            DType.BOOL,
            (CAPTION_TOKENS, CAPTION_TOKENS),
            "true where a token may see another: within its own phrase",
        ),
    ),
    outputs=(
        TensorSpec(
            "logits", DType.FP32, (QUERIES, CAPTION_TOKENS), "each query against each token, before the sigmoid"
        ),
        TensorSpec("boxes", DType.FP32, (QUERIES, 4), "(cx, cy, w, h) as fractions of the image"),
    ),
)

SAM_ENCODER = ModelSpec(
    name="sam_encoder",
    summary="SAM ViT-L image encoder",
    batch=_batch(1, 4),
    served_batch=1,
    inputs=(
        TensorSpec(
            "image",
            DType.FP32,
            (3, SAM_SIDE, SAM_SIDE),
            "RGB, normalised by SAM's mean and std, zero-padded below right",
        ),
    ),
    outputs=(TensorSpec("embedding", DType.FP32, (256, SAM_GRID, SAM_GRID), "image embedding"),),
)

SAM_DECODER = ModelSpec(
    name="sam_decoder",
    summary="SAM prompt encoder and mask decoder: an embedding and a box to four masks",
    batch=_batch(1, 8),
    inputs=(
        TensorSpec("embedding", DType.FP32, (256, SAM_GRID, SAM_GRID), "image embedding"),
        TensorSpec("box", DType.FP32, (4,), "(x0, y0, x1, y1) px in the frame of the encoder's image"),
    ),
    outputs=(
        TensorSpec(
            "masks",
            DType.FP32,
            (4, SAM_MASK_SIDE, SAM_MASK_SIDE),
            "mask logits in the encoder's frame; slot 0 is the single answer, 1..3 are the choices",
        ),
        TensorSpec("predicted_iou", DType.FP32, (4,), "how good the network thinks each mask is, 0..1"),
    ),
)

CLIP_VISION = ModelSpec(
    name="clip_vision",
    summary="CLIP ViT-L/14 image tower and Zero123's pose projection",
    batch=_batch(1, 8),
    inputs=(
        TensorSpec("image", DType.FP32, (3, 224, 224), "RGB, normalised by CLIP's mean and std"),
        TensorSpec("camera", DType.FP32, (4,), "polar in radians, sin and cos of azimuth, radius: respin.camera"),
    ),
    outputs=(TensorSpec("context", DType.FP32, (1, CONTEXT_WIDTH), "what Zero123's UNet attends to"),),
)

ZERO123_UNET = ModelSpec(
    name="zero123_unet",
    summary="Zero123-XL's UNet with guidance inside: one denoising step of one view",
    batch=_batch(4, 8),
    inputs=(
        TensorSpec("latents", DType.FP32, (4, VIEW_LATENT_SIDE, VIEW_LATENT_SIDE), "noisy latents, scaled by 0.18215"),
        TensorSpec("timestep", DType.FP32, (1,), "0..999; 999 is pure noise"),
        TensorSpec("context", DType.FP32, (1, CONTEXT_WIDTH), "of clip_vision"),
        TensorSpec(
            "image_latents",
            DType.FP32,
            (4, VIEW_LATENT_SIDE, VIEW_LATENT_SIDE),
            "the object's latents: the VAE's mean, not scaled",
        ),
        TensorSpec("guidance", DType.FP32, (1,), "classifier-free guidance scale; 1 = none"),
    ),
    outputs=(
        TensorSpec("noise", DType.FP32, (4, VIEW_LATENT_SIDE, VIEW_LATENT_SIDE), "guided noise prediction (epsilon)"),
    ),
)

VAE_ENCODER = ModelSpec(
    name="vae_encoder",
    summary="Stable Diffusion's VAE encoder",
    batch=_batch(1, 8),
    served_batch=1,
    inputs=(TensorSpec("image", DType.FP32, (3, IMAGE_HEIGHT, IMAGE_WIDTH), "RGB, -1..1"),),
    outputs=(
        TensorSpec("mean", DType.FP32, (4, LATENT_HEIGHT, LATENT_WIDTH), "mean of the latents, not scaled"),
        TensorSpec("log_variance", DType.FP32, (4, LATENT_HEIGHT, LATENT_WIDTH), "clamped to -30..20"),
    ),
)

VAE_DECODER = ModelSpec(
    name="vae_decoder",
    summary="Stable Diffusion's VAE decoder",
    batch=_batch(1, 8),
    served_batch=1,
    inputs=(TensorSpec("latents", DType.FP32, (4, LATENT_HEIGHT, LATENT_WIDTH), "divided by 0.18215"),),
    outputs=(TensorSpec("image", DType.FP32, (3, IMAGE_HEIGHT, IMAGE_WIDTH), "RGB, about -1..1, not clamped"),),
)

EDSR = ModelSpec(
    name="edsr",
    summary="EDSR x4 super-resolution",
    batch=_batch(1, 4),
    served_batch=1,
    inputs=(TensorSpec("image", DType.FP32, (3, SMALL_HEIGHT, SMALL_WIDTH), "RGB, 0..255"),),
    outputs=(TensorSpec("upscaled", DType.FP32, (3, LARGE_HEIGHT, LARGE_WIDTH), "RGB, about 0..255; 4x the size"),),
)

CLIP_TEXT = ModelSpec(
    name="clip_text",
    summary="CLIP ViT-L/14 text tower, last hidden state",
    batch=_batch(2, 8),
    inputs=(TensorSpec("input_ids", DType.INT64, (PROMPT_TOKENS,), "CLIP BPE ids, padded with the end token"),),
    outputs=(TensorSpec("context", DType.FP32, (PROMPT_TOKENS, CONTEXT_WIDTH), "what the inpainting UNet attends to"),),
)

INPAINT_UNET = ModelSpec(
    name="inpaint_unet",
    summary="SD-1.5 inpainting's UNet with guidance inside: one denoising step of one background",
    batch=_batch(2, 8),
    served_batch=4,
    inputs=(
        TensorSpec("latents", DType.FP32, (4, LATENT_HEIGHT, LATENT_WIDTH), "noisy latents, scaled by 0.18215"),
        TensorSpec("timestep", DType.FP32, (1,), "0..999; 999 is pure noise"),
        TensorSpec("contexts", DType.FP32, (2, PROMPT_TOKENS, CONTEXT_WIDTH), "of the prompt, of the negative prompt"),
        TensorSpec("mask", DType.FP32, (1, LATENT_HEIGHT, LATENT_WIDTH), "1 = repaint, 0 = keep"),
        TensorSpec(
            "masked_image_latents",
            DType.FP32,
            (4, LATENT_HEIGHT, LATENT_WIDTH),
            "of the image with its hole grey, scaled",
        ),
        TensorSpec("guidance", DType.FP32, (1,), "classifier-free guidance scale; 1 = none"),
    ),
    outputs=(TensorSpec("noise", DType.FP32, (4, LATENT_HEIGHT, LATENT_WIDTH), "guided noise prediction (epsilon)"),),
)

NETWORKS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        GROUNDING_DINO,
        SAM_ENCODER,
        SAM_DECODER,
        CLIP_VISION,
        ZERO123_UNET,
        VAE_ENCODER,
        VAE_DECODER,
        EDSR,
        CLIP_TEXT,
        INPAINT_UNET,
    )
}
"""The ten networks by name, in the order in which a job first needs them."""

UNETS: dict[str, ModelSpec] = {unet.name: unet for unet in (ZERO123_UNET, INPAINT_UNET)}
"""The networks that denoise, by name: they are called at every step, the others once or twice a job."""

GUIDED = "guided"
"""Name of the batch axis of `guidance` in a UNet's graph that takes fewer values than samples: the samples beyond them
run without their unconditional half, as at scale 1. In other graphs the axis has the name of the batch."""

STEP_INPUTS = ("latents", "timestep", "guidance")
"""Inputs of a UNet that change at every step of a sample; its other inputs are constant over a sample's steps."""
