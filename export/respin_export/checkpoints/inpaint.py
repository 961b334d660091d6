"""Stable Diffusion 1.5 inpainting: a diffusers folder, or the single file sd-v1-5-inpainting.ckpt."""

from __future__ import annotations

from pathlib import Path

from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from respin_export.checkpoints import folders, latent_diffusion
from respin_export.checkpoints.checkpoint import Checkpoint, fill_pretrained
from respin_export.networks.clip import ClipText
from respin_export.networks.unet import InpaintUNet

EXPECTED = "a Stable Diffusion 1.5 inpainting checkpoint (sd-v1-5-inpainting.ckpt)"
TEXT = "cond_stage_model.transformer.text_model."

IN_CHANNELS = 9
"""Input channels: latents, the mask, and the masked image's latents."""

HEAD_WIDTH = 64
"""Width of a head of CLIP's attention."""


def load(network: str, path: Path, *, raw_weights: bool = False) -> nn.Module:
    """Fill `clip_text` or `inpaint_unet`.

    Args:
        network: name of the network.
        path: path of the single file, or of the folder, with .safetensors or .bin, float32 or fp16.
        raw_weights: load the UNet's last weights instead of a moving average.

    Raises:
        InvalidInput: the file or folder is not this checkpoint.
    """
    if network == "clip_text":
        if path.is_dir():
            return ClipText(folders.load_clip(path / "text_encoder", CLIPTextConfig, CLIPTextModel))
        return ClipText(_text(path))
    return InpaintUNet(latent_diffusion.load_unet(path, EXPECTED, in_channels=IN_CHANNELS, raw_weights=raw_weights))


def _text(path: Path) -> CLIPTextModel:
    text = Checkpoint.read(path, EXPECTED).subset(TEXT)
    vocabulary, width = text.shape("embeddings.token_embedding.weight")
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=text.shape("encoder.layers.0.mlp.fc1.weight")[0],
        num_hidden_layers=text.count("encoder.layers."),
        num_attention_heads=width // HEAD_WIDTH,
        max_position_embeddings=text.shape("embeddings.position_embedding.weight")[0],
        hidden_act="quick_gelu",
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
    )
    return fill_pretrained(CLIPTextModel, config, text.tensors, text)
