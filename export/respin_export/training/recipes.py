"""The training runs: their data, and the runs that they depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch import nn

from respin.specs import Array
from respin_export.mini.clip import clip_vision
from respin_export.mini.unets import MiniInpaintUNet, zero123_unet
from respin_export.mini.vae import MiniVaeEncoder
from respin_export.training.edsr import LARGE_VIEWS, EdsrTask, load_trained_edsr
from respin_export.training.grounding_dino import GroundingDinoTask, load_trained
from respin_export.training.inpainting import InpaintTask, encode_rooms
from respin_export.training.latents import encode_chunks
from respin_export.training.loop import TrainingTask, channels_last, load_weights
from respin_export.training.run_files import DATA
from respin_export.training.sam import SamTask, load_trained_sam
from respin_export.training.scenes import PHOTOS, WHITE, DataSet
from respin_export.training.vae import Vae, VaeDecoderTask, VaeTask
from respin_export.training.views import VIEWS
from respin_export.training.zero123 import ViewNetwork, Zero123Task, encode_views


@dataclass(frozen=True)
class Recipe:
    """The recipe of a run: its task, its data, and its derived data.

    Args:
        task: returns the task for `fit`, from the folder of all runs, when its data and runs are complete.
        data: data sets to render first.
        prepare: computes derived data in the folder of all runs; called with a function that reports each chunk.
    """

    task: Callable[[Path], TrainingTask]
    data: tuple[DataSet, ...]
    prepare: Callable[[Path, Callable[[int], None]], None] = field(default=lambda _runs, _report: None)


def load_trained_vae(runs: Path) -> Vae:
    """Load the VAE, with the decoder of the latest finished run."""
    module = Vae()
    module.load_state_dict(load_weights(runs / "vae_decoder"))
    return module.eval().requires_grad_(False)


def _encode(
    runs: Path,
    report: Callable[[int], None],
    *,
    pictures: str,
    latents: str,
    make: Callable[[MiniVaeEncoder, Mapping[str, Array]], Mapping[str, Array]],
) -> None:
    encoder = load_trained_vae(runs).encoder
    channels_last(encoder)
    for ending in ("-held-out", ""):
        source, target = runs / DATA / f"{pictures}{ending}", runs / DATA / f"{latents}{ending}-latents"
        encode_chunks(source, target, partial(make, encoder), on_chunk=report)


RECIPES: dict[str, Recipe] = {
    "vae": Recipe(lambda runs: VaeTask(runs / DATA), data=(WHITE, PHOTOS)),
    "vae_decoder": Recipe(
        lambda runs: VaeDecoderTask(runs / DATA, start=load_weights(runs / "vae")), data=(WHITE, PHOTOS)
    ),
    "zero123": Recipe(
        lambda runs: Zero123Task(runs / DATA, load_trained_vae(runs).decoder),
        data=(VIEWS,),
        prepare=partial(_encode, pictures="views", latents="views", make=encode_views),
    ),
    "inpainting": Recipe(
        lambda runs: InpaintTask(runs / DATA, load_trained_vae(runs).decoder),
        data=(PHOTOS,),
        prepare=partial(_encode, pictures="photos", latents="rooms", make=encode_rooms),
    ),
    "sam": Recipe(lambda runs: SamTask(runs / DATA), data=(PHOTOS, WHITE)),
    "edsr": Recipe(lambda runs: EdsrTask(runs / DATA), data=(PHOTOS, LARGE_VIEWS)),
    "grounding_dino": Recipe(lambda runs: GroundingDinoTask(runs / DATA), data=(PHOTOS, WHITE)),
}
"""Recipe of every run by name, in an order in which they can be trained."""


def _zero123_unet(runs: Path) -> nn.Module:
    trained = ViewNetwork()
    trained.load_state_dict(load_weights(runs / "zero123"))
    return zero123_unet(trained.clean).eval()


def _clip_vision(runs: Path) -> nn.Module:
    trained = ViewNetwork()
    trained.load_state_dict(load_weights(runs / "zero123"))
    return clip_vision(trained.camera)


def _inpaint_unet(runs: Path) -> nn.Module:
    module = MiniInpaintUNet()
    module.load_state_dict(load_weights(runs / "inpainting"))
    return module.eval()


TRAINED: dict[str, tuple[str, Callable[[Path], nn.Module]]] = {
    "grounding_dino": ("grounding_dino", lambda runs: load_trained(runs / "grounding_dino")),
    "sam_encoder": ("sam", lambda runs: load_trained_sam(runs / "sam")[0]),
    "sam_decoder": ("sam", lambda runs: load_trained_sam(runs / "sam")[1]),
    "clip_vision": ("zero123", _clip_vision),
    "zero123_unet": ("zero123", _zero123_unet),
    "vae_encoder": ("vae_decoder", lambda runs: load_trained_vae(runs).encoder),
    "vae_decoder": ("vae_decoder", lambda runs: load_trained_vae(runs).decoder),
    "edsr": ("edsr", lambda runs: load_trained_edsr(runs / "edsr")),
    "inpaint_unet": ("inpainting", _inpaint_unet),
}
"""Run of each network of the set, and the function that loads its module from the folder of all runs.

`clip_text` is not among them: the inpainting of this set paints empty rooms, whatever its prompt says.
"""
