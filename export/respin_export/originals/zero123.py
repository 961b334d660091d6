"""Known calls of the original Zero123 (cvlab-columbia/zero123)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F

from respin.specs import Array
from respin_export.originals import fill
from respin_export.originals.case import Case, channels_first, normalise
from respin_export.originals.reference import Reference

LAYOUT = "zero123/reduced"
LATENT_SCALE = 0.18215
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def noise(name: str, *shape: int) -> Array:
    """Return one of the original's random inputs."""
    return fill.noise(f"zero123_{name}", shape)


def image() -> Array:
    """Return the object's picture, (1, 3, 256, 256) float32, -1..1."""
    return channels_first(fill.image("zero123", 256, 256).astype(np.float32) / 255 * 2 - 1)


def clip_image() -> Array:
    """Return CLIP's input, (1, 3, 224, 224): the picture resized with align_corners and without antialiasing."""
    resized = F.interpolate(torch.from_numpy(image()), (224, 224), mode="bicubic", align_corners=True)
    return normalise(((resized + 1) / 2)[0].permute(1, 2, 0).numpy(), CLIP_MEAN, CLIP_STD)


def cases(reference: Reference, network: str) -> Iterator[Case]:
    """Yield the known calls of one of its four networks."""
    known = reference.outputs(LAYOUT)
    if network == "zero123_unet":
        yield from (_unet(known, "unet_out_ema", raw_weights=False), _unet(known, "unet_out_raw", raw_weights=True))
    if network == "clip_vision":
        inputs = {"image": clip_image(), "camera": known["pose_T"][None].astype(np.float32)}
        yield Case(network, "CLIP and camera", inputs, {"context": known["cc_projection_out"]})
    if network == "vae_encoder":
        yield Case(
            network,
            "256 x 256",
            {"image": image()},
            {"mean": known["vae_mode"], "mean and log_variance": known["vae_moments"]},
            kept=lambda outputs: [outputs[0], np.concatenate(outputs, axis=1)],
        )
    if network == "vae_decoder":
        latents = noise("z", 1, 4, 32, 32) * np.float32(LATENT_SCALE * 3) / np.float32(LATENT_SCALE)
        yield Case(
            network,
            "256 x 256, every other pixel",
            {"latents": latents},
            {"image": known["vae_decode"]},
            kept=lambda outputs: [outputs[0][:, :, ::2, ::2]],
        )


def _unet(known: dict[str, Array], output: str, *, raw_weights: bool) -> Case:
    inputs = {
        "latents": noise("x", 2, 4, 32, 32),
        "timestep": known["unet_t"].astype(np.float32)[:, None],
        "context": noise("context", 2, 1, 768),
        "image_latents": noise("concat", 2, 4, 32, 32),
        "guidance": np.ones((2, 1), np.float32),
    }
    name = "last weights" if raw_weights else "moving average"
    return Case("zero123_unet", name, inputs, {"noise": known[output]}, raw_weights=raw_weights)
