"""Zero123-XL from its authors' Lightning checkpoint, or from a diffusers folder of it.

The one file holds the UNet twice (`model.*` and its moving average `model_ema.*`), the VAE, CLIP's image tower and the
projection of the camera; the rest is schedule buffers, parts of CLIP's text tower, and the optimizer's state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from respin_export.checkpoints import folders, keys, latent_diffusion
from respin_export.checkpoints.checkpoint import Checkpoint, fill_module, fill_pretrained
from respin_export.networks.clip import ClipVision
from respin_export.networks.unet import Zero123UNet
from respin_export.networks.vae import VaeDecoder, VaeEncoder

EXPECTED = "a Zero123 checkpoint (zero123-xl.ckpt)"
CLIP = "cond_stage_model.model.visual."
CC_PROJECTION = "cc_projection."

IN_CHANNELS = 8
"""Input channels: noisy latents and the object's latents."""

HEAD_WIDTH = 64
"""Width of a head of CLIP's attention (openai/CLIP, clip/model.py, `build_model`)."""


def load(network: str, path: Path, *, raw_weights: bool = False) -> nn.Module:
    """Fill `clip_vision`, `zero123_unet`, `vae_encoder` or `vae_decoder`.

    Args:
        network: name of the network.
        path: path of the .ckpt or of the folder.
        raw_weights: load the UNet's last weights; the default is the moving average, as in zero123/gradio_new.py.

    Raises:
        InvalidInput: the file or folder is not this checkpoint.
    """
    if network == "zero123_unet":
        return Zero123UNet(latent_diffusion.load_unet(path, EXPECTED, in_channels=IN_CHANNELS, raw_weights=raw_weights))
    if network == "clip_vision":
        return ClipVision(*(_clip_of_folder(path) if path.is_dir() else _clip_of_file(path)))
    return {"vae_encoder": VaeEncoder, "vae_decoder": VaeDecoder}[network](latent_diffusion.load_vae(path, EXPECTED))


def _clip_of_folder(path: Path) -> tuple[Any, nn.Linear]:
    """Load from a diffusers folder, with the names of kxic/zero123-xl."""
    clip = folders.load_clip(path / "image_encoder", CLIPVisionConfig, CLIPVisionModelWithProjection)
    return clip, folders.load_linear(path / "cc_projection", "projection.")


def _clip_of_file(path: Path) -> tuple[Any, nn.Linear]:
    checkpoint = Checkpoint.read(path, EXPECTED)
    clip, projection = checkpoint.subset(CLIP), checkpoint.subset(CC_PROJECTION)
    state = keys.rename_tensors(clip.tensors, keys.CLIP_VISION)
    config = _clip_config(clip)
    # CLIP multiplies from the left.
    state |= {"visual_projection.weight": clip.tensors["proj"].t().contiguous()}
    outputs, inputs = projection.shape("weight")
    return (
        fill_pretrained(CLIPVisionModelWithProjection, config, state, clip),
        fill_module(lambda: nn.Linear(inputs, outputs), projection.tensors, projection),
    )


def _clip_config(clip: Checkpoint) -> CLIPVisionConfig:
    width, _, patch, _ = clip.shape("conv1.weight", axes=4)
    side = round((clip.shape("positional_embedding")[0] - 1) ** 0.5)
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=clip.shape("transformer.resblocks.0.mlp.c_fc.weight")[0],
        num_hidden_layers=clip.count("transformer.resblocks."),
        num_attention_heads=width // HEAD_WIDTH,
        image_size=side * patch,
        patch_size=patch,
        projection_dim=clip.shape("proj")[1],
        hidden_act="quick_gelu",
    )
