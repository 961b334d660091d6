"""The object from its new side. Zero123-XL (Liu et al. 2023, arXiv:2303.11328), as zero123/gradio_new.py runs it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from respin.camera import camera_shift
from respin.contracts.networks import CLIP_VISION, VAE_DECODER, VAE_ENCODER, ZERO123_UNET
from respin.geometry import Placement, Size, bounding_box, cut, square_around
from respin.specs import Array
from respin_ensemble.networks import Networks
from respin_ensemble.pictures import LANCZOS, Mask, Picture, resized, signed, unsigned
from respin_ensemble.sampling import Guidance, OnStep, Sample, Stepper, ddim, guided, zero123_schedule

CLIP_SIDE = 224
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)[:, None, None]
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)[:, None, None]

LATENT_SCALE = 0.18215
"""Stable Diffusion's latents have unit variance after this factor. Zero123's condition is not scaled by it."""

NOISE_STREAM = 0
"""Marks the random numbers of novel views among those of one seed."""

CUBIC = -0.75
"""The parameter of PyTorch's bicubic kernel (Keys 1981)."""


def object_on_white(photo: Picture, mask: Mask, *, side: int, object_share: float) -> tuple[Picture, Placement]:
    """Cut the object out as Zero123 wants it: centred on a white square.

    Everything else is made white at the photo's own size, before resizing, so that no fringe of the room remains.

    Args:
        photo: (H, W, 3) uint8 RGB.
        mask: (H, W) bool with at least one true pixel.
        side: of the square picture wanted, px.
        object_share: of the square's side that the object's longer side fills.

    Returns:
        (side, side, 3) uint8, and the square of the photo that it shows.
    """
    square = square_around(bounding_box(mask), object_share)
    alone = np.where(mask[..., None], photo, np.uint8(255))
    return resized(cut(alone, square, fill=255), Size(side, side), LANCZOS), square


def turn(
    networks: Networks,
    stepper: Stepper,
    picture: Picture,
    moves: Sequence[tuple[float, float]],
    *,
    steps: int,
    guidance: float,
    eta: float,
    seed: int,
    on_step: OnStep,
) -> list[Picture]:
    """Imagine the object from other sides, all of them together.

    Args:
        networks: of the set.
        stepper: drives the UNet.
        picture: (side, side, 3) uint8, the object on white.
        moves: (azimuth, polar) in degrees, one a view.
        steps: asked of upstream's schedule, which runs one or two more (`zero123_schedule`).
        guidance: classifier-free guidance scale.
        eta: of DDIM.
        seed: view i draws its noise from (seed, i), whatever company it has.
        on_step: called after each step.

    Returns:
        (side, side, 3) uint8 for each move.
    """
    image_latents = networks(VAE_ENCODER, image=signed(picture)[None])["mean"][0]
    cameras = np.stack([camera_shift(azimuth, polar) for azimuth, polar in moves])
    image = np.repeat(clip_image(signed(picture))[None], len(moves), axis=0)
    contexts = networks(CLIP_VISION, image=image, camera=cameras)["context"]
    schedule = zero123_schedule(steps)
    samples = []
    for view, context in enumerate(contexts):
        generator = np.random.default_rng([seed, NOISE_STREAM, view])
        noise = generator.standard_normal(image_latents.shape, np.float32)
        conditions = {"context": context, "image_latents": image_latents}
        path = ddim(noise, schedule, eta=eta, generator=generator)
        trajectory = guided(path, Guidance(guidance), len(schedule))
        samples.append(Sample(trajectory, len(schedule), conditions))
    latents = np.stack(stepper(ZERO123_UNET, samples, on_step)) / np.float32(LATENT_SCALE)
    # Truncated, not rounded: upstream casts to uint8.
    return [unsigned(image).astype(np.uint8) for image in networks(VAE_DECODER, latents=latents)["image"]]


def clip_image(tensor: Array) -> NDArray[np.float32]:
    """(3, side, side) in -1..1 to (3, 224, 224) as Zero123's CLIP tower reads it.

    Bicubic with the corners aligned and no averaging (kornia's resize, which upstream calls); the usual CLIP
    preprocessing gives another picture.
    """
    weights = _bicubic_weights(tensor.shape[1], CLIP_SIDE)
    small = weights @ tensor.astype(np.float64) @ weights.T
    normalised: NDArray[np.float32] = (((small + 1) / 2 - CLIP_MEAN) / CLIP_STD).astype(np.float32)
    return normalised


def _bicubic_weights(length: int, wanted: int) -> NDArray[np.float64]:
    """(wanted, length) weights of each old pixel in each new one, corners aligned, edges repeated."""
    at = np.linspace(0, length - 1, wanted)
    weights = np.zeros((wanted, length))
    for offset in range(-1, 3):
        pixel = np.floor(at) + offset
        distance = np.abs(at - pixel)
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        np.add.at(weights, (np.arange(wanted), np.clip(pixel, 0, length - 1).astype(int)), weight)
    return weights
