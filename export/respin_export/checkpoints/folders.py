"""Components as diffusers and transformers save them: a folder with `config.json` and one file of weights."""

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
"""Of one set of weights, best first; `.fp16` is made float32 again."""

RAW_VARIANT = ".non_ema"


def weights_file(folder: Path, variants: tuple[str, ...] = VARIANTS) -> Path:
    """The file of a component's weights.

    Args:
        folder: of the component.
        variants: what may stand between name and ending, best first.

    Raises:
        InvalidInput: there is none.
    """
    names = [f"{stem}{variant}.{ending}" for variant in variants for ending in ENDINGS for stem in STEMS]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InvalidInput(f"{folder} holds no weights: expected one of {', '.join(names)}; download the folder again")


def load_unet(folder: Path, *, in_channels: int, raw_weights: bool) -> UNet2DConditionModel:
    """A UNet's component folder.

    Args:
        folder: usually `unet`.
        in_channels: that the network must have; it tells one model's UNet from another's.
        raw_weights: of the variant `non_ema`.

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
    """A VAE's component folder, of any age.

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
        folder: of the component.
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
    """A single linear layer saved as a component.

    Args:
        folder: of the component.
        prefix: of its two tensors' names.

    Raises:
        InvalidInput: a file is missing or holds something else.
    """
    checkpoint = Checkpoint.read(weights_file(folder), "one linear layer").subset(prefix)
    outputs, inputs = checkpoint.shape("weight")
    return fill_module(lambda: nn.Linear(inputs, outputs), checkpoint.tensors, checkpoint)
