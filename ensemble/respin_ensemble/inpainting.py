"""The photo without the object. Stable Diffusion 1.5 inpainting (Rombach et al. 2022, arXiv:2112.10752).

The numbers are those of diffusers' StableDiffusionInpaintPipeline. What is ours: it works on a crop round the hole at
the photo's own proportions, and its result is pasted back only inside the hole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from respin.contracts.networks import CLIP_TEXT, IMAGE_HEIGHT, INPAINT_UNET, VAE_DECODER, VAE_ENCODER
from respin.geometry import Fit, Placement, Size, blend, bounding_box, cut, fit_within, lay, widened
from respin_ensemble.masks import feathered_inside
from respin_ensemble.networks import Networks
from respin_ensemble.novel_view import LATENT_SCALE
from respin_ensemble.pictures import LANCZOS, Mask, Picture, resized, signed, unsigned
from respin_ensemble.sampling import Guidance, OnStep, Sample, Stepper, ddim, guided, leading_schedule
from respin_ensemble.tokens import prompt_ids

NOISE_STREAM = 1
"""Marks the random numbers of backgrounds among those of one seed."""

LATENT_STRIDE = 8
"""Pixels that one latent stands for, each way."""

FEATHER_SHARE = 0.15
"""Of the growth of the hole that its paste fades over: half the growth lies outside the object on each side, so the
object itself is always covered in full."""


def fill(
    networks: Networks,
    stepper: Stepper,
    photo: Picture,
    hole: Mask,
    *,
    prompt: str,
    negative_prompt: str,
    steps: int,
    guidance: float,
    grown_px: int,
    seed: int,
    on_step: OnStep,
) -> Picture:
    """Repaint a hole in a photo.

    Args:
        networks: of the set.
        stepper: drives the UNet.
        photo: (H, W, 3) uint8 RGB.
        hole: (H, W) bool with at least one true pixel: what to repaint.
        prompt: what to paint.
        negative_prompt: what not to paint.
        steps: of DDIM, eta 0.
        guidance: classifier-free guidance scale.
        grown_px: by how much the hole is wider than the object: the paste fades over a share of it.
        seed: of the noise.
        on_step: called after each step.

    Returns:
        (H, W, 3) uint8; bit-identical to the photo outside the hole.
    """
    place = crop_around(hole, Size.of(photo))
    crop, crop_hole = cut(photo, place, fill=0), cut(hole, place, fill=0)
    fit = fit_within(place.size, networks.sizes.inpaint_side, IMAGE_HEIGHT.multiple_of)
    image, repaint = prepare(crop, crop_hole, fit)
    generator = np.random.default_rng([seed, NOISE_STREAM])
    conditions = {
        "contexts": text_contexts(networks, prompt, negative_prompt),
        "mask": repaint[None, ::LATENT_STRIDE, ::LATENT_STRIDE],
        "masked_image_latents": encode(networks, image * (1 - repaint), generator),
    }
    noise = generator.standard_normal(conditions["masked_image_latents"].shape, np.float32)
    path = ddim(noise, leading_schedule(steps), eta=0.0, generator=generator)
    trajectory = guided(path, Guidance(guidance), steps)
    (latents,) = stepper(INPAINT_UNET, [Sample(trajectory, steps, conditions)], on_step)
    painted = decode(networks, latents, fit)
    faded = feathered_inside(crop_hole, grown_px * FEATHER_SHARE)
    return lay(photo, blend(crop, painted, faded), place)


def crop_around(hole: Mask, size: Size) -> Placement:
    """What the inpainting gets to see: the hole and half its longer side of room on every side."""
    inner = bounding_box(hole)
    return widened(inner, max(LATENT_STRIDE, inner.size.longest // 2), size)


def prepare(crop: Picture, hole: Mask, fit: Fit) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bring a crop and its hole into the network's frame.

    Both are resized with LANCZOS and the hole is cut at one half, as diffusers' image processor does; the padding
    repeats the edge and counts as known.

    Returns:
        (3, h, w) float32 in -1..1, and (h, w) float32: 1 = repaint.
    """
    below, right = fit.padded.height - fit.fitted.height, fit.padded.width - fit.fitted.width
    image = np.pad(resized(crop, fit.fitted, LANCZOS), ((0, below), (0, right), (0, 0)), mode="edge")
    grey = resized(hole.astype(np.uint8) * np.uint8(255), fit.fitted, LANCZOS)
    repaint = np.pad(grey >= 127.5, ((0, below), (0, right)))
    return signed(image), repaint.astype(np.float32)


def text_contexts(networks: Networks, prompt: str, negative_prompt: str) -> NDArray[np.float32]:
    """(2, 77, 768): the contexts of the prompt and of the negative prompt, in the contract's order."""
    ids = np.stack([prompt_ids(text)[0] for text in (prompt, negative_prompt)])
    contexts: NDArray[np.float32] = networks(CLIP_TEXT, input_ids=ids)["context"]
    return contexts


def encode(networks: Networks, image: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """(3, h, w) in -1..1 to scaled latents (4, h/8, w/8), sampled from the VAE's posterior, not its mean."""
    posterior = networks(VAE_ENCODER, image=image[None])
    mean, log_variance = posterior["mean"][0], posterior["log_variance"][0]
    noise = generator.standard_normal(mean.shape, np.float32)
    latents: NDArray[np.float32] = mean + np.exp(np.float32(0.5) * log_variance) * noise
    return np.float32(LATENT_SCALE) * latents


def decode(networks: Networks, latents: NDArray[np.float32], fit: Fit) -> Picture:
    """Scaled latents to the crop's own size: decoded, rounded, padding cut off, resized back with LANCZOS."""
    image = networks(VAE_DECODER, latents=latents[None] / np.float32(LATENT_SCALE))["image"][0]
    return resized(fit.unpadded(np.rint(unsigned(image)).astype(np.uint8)), fit.original, LANCZOS)
