"""Load the networks of the contracts from the published checkpoints, in the layouts of their downloads.

A weights folder has a sub-folder for each checkpoint:

    weights/grounding_dino/   groundingdino_swint_ogc.pth, or the files of IDEA-Research/grounding-dino-tiny
    weights/sam/              sam_vit_l_0b3195.pth
    weights/zero123/          zero123-xl.ckpt, or a diffusers folder of it
    weights/edsr/             edsr_x4-4f62e9ef.pt or edsr_baseline_x4-6b446fab.pt
    weights/inpaint/          a diffusers folder of Stable Diffusion 1.5 inpainting, or sd-v1-5-inpainting.ckpt

Sizes of a network are read from the shapes of its tensors, so that reduced checkpoints load like full ones. Numbers
that do not follow from shapes may be in a `config.json` beside the file, under the names of the authors' constructor:
see the loader of each checkpoint.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from respin.errors import InvalidInput
from respin.json_file import read_json_object
from respin.model_set import Sizes

if TYPE_CHECKING:
    from torch import nn

CHECKPOINT_OF = {
    "grounding_dino": "grounding_dino",
    "sam_encoder": "sam",
    "sam_decoder": "sam",
    "clip_vision": "zero123",
    "zero123_unet": "zero123",
    "vae_encoder": "zero123",
    "vae_decoder": "zero123",
    "edsr": "edsr",
    "clip_text": "inpaint",
    "inpaint_unet": "inpaint",
}
"""Checkpoint of each network."""

LAYOUTS = {
    "grounding_dino": ("groundingdino_swint_ogc.pth", "*.pth", "model.safetensors", "pytorch_model.bin"),
    "sam": ("sam_vit_l_0b3195.pth", "*.pth"),
    "zero123": ("zero123-xl.ckpt", "*.ckpt", "model_index.json"),
    "edsr": ("edsr_x4-4f62e9ef.pt", "edsr_baseline_x4-6b446fab.pt", "*.pt"),
    "inpaint": ("model_index.json", "sd-v1-5-inpainting.ckpt", "*.ckpt", "*.safetensors"),
}
"""File names and patterns of each checkpoint, best first."""

FOLDER_MARKS = ("model.safetensors", "pytorch_model.bin", "model_index.json")
"""Files whose folder is the checkpoint."""

SIZES_FILE = "sizes.json"


def find_checkpoint(checkpoint: str, weights: Path) -> Path:
    """Return the file or the folder of a checkpoint.

    Args:
        checkpoint: one of `LAYOUTS`.
        weights: the weights folder.

    Raises:
        InvalidInput: it is not there, or several files could be it.
    """
    folder = weights / checkpoint
    for pattern in LAYOUTS[checkpoint]:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise InvalidInput(f"{folder} holds several checkpoints ({names}); keep one of them there")
        if found:
            return folder if pattern in FOLDER_MARKS else found[0]
    raise InvalidInput(
        f"no {checkpoint} checkpoint in {folder}: expected {LAYOUTS[checkpoint][0]}; "
        f"get it with `respin weights fetch {checkpoint}`"
    )


def load_network(network: str, weights: Path, *, raw_weights: bool = False) -> nn.Module:
    """Build a network and fill it from its checkpoint.

    The tensors stay memory-mapped: only those of the network take memory.

    Args:
        network: name of the contract.
        weights: the weights folder.
        raw_weights: take the UNet's last weights instead of their moving average, which the authors' demo uses.

    Returns:
        a module of `respin_export.networks`, in evaluation mode and without gradients.

    Raises:
        InvalidInput: the checkpoint is not there, is damaged, or is another one.
    """
    checkpoint = CHECKPOINT_OF[network]
    path = find_checkpoint(checkpoint, weights)
    # torch and the model libraries take seconds to import, which finding a file does not need.
    loader = import_module(f"respin_export.checkpoints.{checkpoint}")
    module = cast("nn.Module", loader.load(network, path, raw_weights=raw_weights))
    return module.eval().requires_grad_(False)


def load_sizes(weights: Path) -> Sizes:
    """Return the image sizes of a weights folder: those of `sizes.json`, or else of the published weights.

    Raises:
        InvalidInput: `sizes.json` is there and cannot be read.
    """
    path = weights / SIZES_FILE
    if not path.is_file():
        return Sizes()
    try:
        return Sizes.from_json(read_json_object(path))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} does not hold the sizes of a model set ({error}); remove or fix it") from None
