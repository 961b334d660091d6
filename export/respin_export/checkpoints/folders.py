"""Load components in the form of diffusers and transformers: a folder with `config.json` and a file of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from respin.errors import InvalidInput
from respin_export.checkpoints import keys
from respin_export.checkpoints.checkpoint import Checkpoint, fill_module, fill_pretrained, read_config

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
ENDINGS = ("safetensors", "bin")
VARIANTS = ("", ".fp16")
"""Variants of the same weights, best first; `.fp16` is converted to float32."""

RAW_VARIANT = ".non_ema"


def weights_file(folder: Path, variants: tuple[str, ...] = VARIANTS) -> Path:
    """Return the file of a component's weights.

    Args:
        folder: folder of the component.
        variants: allowed infixes between name and ending, best first.

    Raises:
        InvalidInput: there is none.
    """
    names = [f"{stem}{variant}.{ending}" for variant in variants for ending in ENDINGS for stem in STEMS]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InvalidInput(f"{folder} holds no weights: expected one of {', '.join(names)}; download the folder again")


def load_unet(folder: Path, *, in_channels: int, raw_weights: bool) -> UNet2DConditionModel:
    """Load the component folder of a UNet.

    Args:
        folder: folder of the component, usually `unet`.
        in_channels: required input channels, by which the UNets of different models differ.
        raw_weights: load the variant `non_ema`.

    Raises:
        InvalidInput: a file is missing, or it is another UNet.
    """
    config = read_config(folder / "config.json")
    file = weights_file(folder, (RAW_VARIANT,) if raw_weights else VARIANTS)
    checkpoint = Checkpoint.read(file, "the UNet that the config.json beside it describes")
    if config.get("in_channels") != in_channels:
        raise checkpoint.error(f"config.json says in_channels {config.get('in_channels')}, expected {in_channels}")
    return fill_module(lambda: UNet2DConditionModel.from_config(config), checkpoint.tensors, checkpoint)


def load_vae(folder: Path) -> AutoencoderKL:
    """Load the component folder of a VAE, with today's key names or those of 2022.

    Raises:
        InvalidInput: a file is missing or does not fit its config.
    """
    config = read_config(folder / "config.json")
    checkpoint = Checkpoint.read(weights_file(folder), "the VAE that the config.json beside it describes")
    state = keys.rename_tensors(checkpoint.tensors, keys.VAE_ATTENTION)
    return fill_module(lambda: AutoencoderKL.from_config(config), state, checkpoint)


def load_clip(folder: Path, config_class: type[PretrainedConfig], model_class: type[PreTrainedModel]) -> Any:
    """Load the component folder of a CLIP tower.

    Args:
        folder: folder of the component.
        config_class: transformers' class of the tower's configuration.
        model_class: transformers' class of the tower.

    Raises:
        InvalidInput: a file is missing or does not fit its config.
    """
    read_config(folder / "config.json")
    config = config_class.from_pretrained(folder, local_files_only=True)
    checkpoint = Checkpoint.read(weights_file(folder), "the CLIP tower that the config.json beside it describes")
    return fill_pretrained(model_class, config, checkpoint.tensors, checkpoint)


def load_linear(folder: Path, prefix: str) -> nn.Linear:
    """Load a component that is a single linear layer.

    Args:
        folder: folder of the component.
        prefix: prefix of its two tensors' names.

    Raises:
        InvalidInput: a file is missing or holds something else.
    """
    checkpoint = Checkpoint.read(weights_file(folder), "one linear layer").subset(prefix)
    outputs, inputs = checkpoint.shape("weight")
    return fill_module(lambda: nn.Linear(inputs, outputs), checkpoint.tensors, checkpoint)
