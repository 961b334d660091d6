"""Zero123-XL from its authors' Lightning checkpoint, or from a diffusers folder of it.

The one file holds the UNet twice (`model.*` and its moving average `model_ema.*`), the VAE, CLIP's image tower and the
projection of the camera; the rest is schedule buffers, parts of CLIP's text tower, and the optimizer's state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn
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
    parts = _Folder(path) if path.is_dir() else _File(path)
    if network == "zero123_unet":
        return Zero123UNet(parts.unet(raw_weights=raw_weights))
    if network == "clip_vision":
        return ClipVision(parts.clip(), parts.cc_projection())
    return {"vae_encoder": VaeEncoder, "vae_decoder": VaeDecoder}[network](parts.vae())


class _Folder:
    """A diffusers folder, with the names of kxic/zero123-xl."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def unet(self, *, raw_weights: bool) -> Any:
        return folders.load_unet(self.path / "unet", in_channels=IN_CHANNELS, raw_weights=raw_weights)

    def vae(self) -> Any:
        return folders.load_vae(self.path / "vae")

    def clip(self) -> Any:
        return folders.load_clip(self.path / "image_encoder", CLIPVisionConfig, CLIPVisionModelWithProjection)

    def cc_projection(self) -> nn.Linear:
        return folders.load_linear(self.path / "cc_projection", "projection.")


class _File:
    """The authors' checkpoint."""

    def __init__(self, path: Path) -> None:
        self.checkpoint = Checkpoint.read(path, EXPECTED)

    def unet(self, *, raw_weights: bool) -> Any:
        return latent_diffusion.load_unet(self.checkpoint, in_channels=IN_CHANNELS, raw_weights=raw_weights)

    def vae(self) -> Any:
        return latent_diffusion.load_vae(self.checkpoint)

    def clip(self) -> Any:
        clip = self.checkpoint.subset(CLIP)
        state = keys.rename_tensors(clip.tensors, keys.CLIP_VISION)
        config = _clip_config(clip)
        # CLIP multiplies from the left.
        state |= {"visual_projection.weight": _transpose(clip.tensors["proj"])}
        return fill_pretrained(CLIPVisionModelWithProjection, config, state, clip)

    def cc_projection(self) -> nn.Linear:
        projection = self.checkpoint.subset(CC_PROJECTION)
        outputs, inputs = projection.shape("weight")
        return fill_module(lambda: nn.Linear(inputs, outputs), projection.tensors, projection)


def _transpose(matrix: Tensor) -> Tensor:
    return matrix.t().contiguous()


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
