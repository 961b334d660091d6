"""Load UNet and VAE of Zero123 and Stable Diffusion: from a single file of CompVis/latent-diffusion, or a folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

from respin_export.checkpoints import folders
from respin_export.checkpoints.checkpoint import Checkpoint, fill_module

RAW = "model."
AVERAGED = "model_ema."
UNET = "model.diffusion_model."
VAE = "first_stage_model."

VAE_LEFTOVERS = "loss."
"""Prefix of tensors of the VAE's training, in some files."""

HEADS = 8
"""Attention heads of the UNet in every model of the 1.x line (`num_heads` of its yaml); shapes do not show it."""


def load_unet(path: Path, expected: str, *, in_channels: int, raw_weights: bool) -> UNet2DConditionModel:
    """Load the UNet of a single file or of a diffusers folder.

    Args:
        path: path of the file or folder.
        expected: description of the file, for messages.
        in_channels: required input channels, by which the UNets of different models differ.
        raw_weights: load the last weights, even if there is their moving average.

    Raises:
        InvalidInput: it is not this UNet.
    """
    if path.is_dir():
        return folders.load_unet(path / "unet", in_channels=in_channels, raw_weights=raw_weights)
    checkpoint = Checkpoint.read(path, expected)
    chosen = checkpoint.subset(UNET) if raw_weights else _moving_average(checkpoint)
    found = chosen.shape("input_blocks.0.0.weight", axes=4)[1]
    if found != in_channels:
        raise checkpoint.error(
            f"'{UNET}input_blocks.0.0.weight' takes {found} channels, expected {in_channels}: another model's UNet"
        )
    config = unet_config(chosen)
    # The library converts names in place of tensors here, which shows keys without a rule; it would drop them.
    old_names = convert_ldm_unet_checkpoint({UNET + name: name for name in chosen.tensors}, config)
    chosen.check(missing=[], unknown=sorted(chosen.tensors.keys() - set(old_names.values())), shapes=[])
    state = {new: chosen.tensors[old] for new, old in old_names.items()}
    return fill_module(partial(UNet2DConditionModel, **config), state, chosen)


def _moving_average(checkpoint: Checkpoint) -> Checkpoint:
    """Return the moving average, whose keys are the parameters' own without dots (ldm/modules/ema.py)."""
    raw = checkpoint.subset(UNET)
    if not any(name.startswith(AVERAGED) for name in checkpoint.tensors):
        return raw
    keys = {name: AVERAGED + (UNET.removeprefix(RAW) + name).replace(".", "") for name in raw.tensors}
    missing = [key for key in keys.values() if key not in checkpoint.tensors]
    checkpoint.check(missing=missing, unknown=[], shapes=[])
    return Checkpoint(
        checkpoint.path, checkpoint.expected, {name: checkpoint.tensors[key] for name, key in keys.items()}
    )


def unet_config(unet: Checkpoint) -> dict[str, object]:
    """Return the arguments of diffusers' UNet2DConditionModel, from the shapes of a UNet's tensors.

    Args:
        unet: tensors of the UNet, under names without prefix.
    """
    channels, attends = [0], [False]
    for position in range(1, unet.count("input_blocks.")):
        block = f"input_blocks.{position}"
        if f"{block}.0.op.weight" in unet.tensors:
            channels.append(0)
            attends.append(False)
        else:
            channels[-1] = unet.shape(f"{block}.0.out_layers.3.weight", axes=4)[0]
            attends[-1] = f"{block}.1.norm.weight" in unet.tensors
    blocks = unet.count("input_blocks.")
    return {
        "in_channels": unet.shape("input_blocks.0.0.weight", axes=4)[1],
        "out_channels": unet.shape("out.2.weight", axes=4)[0],
        "block_out_channels": tuple(channels),
        "down_block_types": tuple("CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in attends),
        "up_block_types": tuple("CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in attends[::-1]),
        # One input convolution, and one that halves the sides between two levels.
        "layers_per_block": (blocks - len(channels)) // len(channels),
        "cross_attention_dim": unet.shape("middle_block.1.transformer_blocks.0.attn2.to_k.weight")[1],
        "attention_head_dim": HEADS,  # the number of heads: diffusers keeps a wrong name
    }


def load_vae(path: Path, expected: str) -> AutoencoderKL:
    """Load the VAE of a single file or of a diffusers folder; arguments and errors are those of `load_unet`."""
    if path.is_dir():
        return folders.load_vae(path / "vae")
    vae = Checkpoint.read(path, expected).subset(VAE)
    tensors = {name: tensor for name, tensor in vae.tensors.items() if not name.startswith(VAE_LEFTOVERS)}
    config = vae_config(vae)
    old_names = convert_ldm_vae_checkpoint({VAE + name: _Name(name) for name in tensors}, config)
    vae.check(missing=[], unknown=sorted(tensors.keys() - set(old_names.values())), shapes=[])
    state = {new: tensors[old] for new, old in old_names.items()}
    # The authors' attention has 1x1 convolutions, the library's linear layers.
    flat = {
        name: tensor.reshape(tensor.shape[:2]) if ".attentions.0.to_" in name else tensor
        for name, tensor in state.items()
    }
    return fill_module(partial(AutoencoderKL, **config), flat, vae)


class _Name(str):
    """A name that the library's converter accepts in place of a tensor."""

    shape = ()


def vae_config(vae: Checkpoint) -> dict[str, object]:
    """Return the arguments of diffusers' AutoencoderKL, from the shapes of a VAE's tensors."""
    levels = vae.count("encoder.down.")
    return {
        "block_out_channels": tuple(
            vae.shape(f"encoder.down.{level}.block.0.conv2.weight", axes=4)[0] for level in range(levels)
        ),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": vae.count("encoder.down.0.block."),
        "latent_channels": vae.shape("decoder.conv_in.weight", axes=4)[1],
    }
