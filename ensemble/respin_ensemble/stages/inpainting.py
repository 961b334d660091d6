"""The photo without the object. Stable Diffusion 1.5 inpainting (Rombach et al. 2022, arXiv:2112.10752).

The numbers are those of diffusers' StableDiffusionInpaintPipeline. What is ours: it works on a crop round the hole at
the photo's own proportions, and its result is pasted back only inside the hole.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.contracts.networks import CLIP_TEXT, IMAGE_HEIGHT, INPAINT_UNET
from respin.geometry import Fit, Placement, Size, blend, bounding_box, cut, fit_within, lay, widened
from respin_ensemble.batching.stepper import OnStep, Stepper
from respin_ensemble.imaging.masks import feathered_inside
from respin_ensemble.imaging.tensors import (
    BLACK,
    LANCZOS,
    Mask,
    Picture,
    refuse_black,
    refuse_not_numbers,
    resized,
    signed,
    unsigned,
)
from respin_ensemble.networks import Networks
from respin_ensemble.sampling import Guidance, Sample, start
from respin_ensemble.stages import vae
from respin_ensemble.stages.tokenization import prompt_ids

NOISE_STREAM = 1
"""Marks the random numbers of backgrounds among those of one seed."""

LATENT_STRIDE = 8
"""Pixels that one latent stands for, each way."""

FEATHER_SHARE = 0.15
"""Of the growth of the hole that its paste fades over: half the growth lies outside the object on each side, so the
object itself is always covered in full."""


@dataclass(frozen=True)
class Painting:
    """All that decides what is painted into a hole, beside the photo and the hole.

    Args:
        prompt: what to paint.
        negative_prompt: what not to paint.
        sampler: by its name in a request; DDIM with eta 0.
        steps: of it.
        guidance: classifier-free.
        grown_px: by how much the hole is wider than the object: the paste fades over a share of it.
        seed: of the noise.
    """

    prompt: str
    negative_prompt: str
    sampler: str
    steps: int
    guidance: Guidance
    grown_px: int
    seed: int


@dataclass(frozen=True, eq=False)
class Patch:
    """The part of a photo that was repainted.

    Args:
        pixels: (h, w, 3) uint8.
        place: where in the photo it goes.
    """

    pixels: Picture
    place: Placement

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.pixels.nbytes

    def laid_into(self, photo: Picture) -> Picture:
        """(H, W, 3) uint8; bit-identical to the photo outside the hole."""
        return lay(photo, self.pixels, self.place)


def fill(
    networks: Networks,
    stepper: Stepper,
    photo: Picture,
    hole: Mask,
    painting: Painting,
    *,
    contexts: NDArray[np.float32],
    on_step: OnStep,
) -> Patch:
    """Repaint a hole in a photo.

    Args:
        networks: of the set.
        stepper: drives the UNet.
        photo: (H, W, 3) uint8 RGB.
        hole: (H, W) bool with at least one true pixel: what to repaint.
        painting: what to paint, and how.
        contexts: (2, 77, 768), `text_contexts` of its prompts.
        on_step: called after each step.

    Raises:
        InternalError: what was painted is no picture.
    """
    place = crop_around(hole, Size.of(photo))
    crop, crop_hole = cut(photo, place, fill=0), cut(hole, place, fill=0)
    fit = fit_within(place.size, networks.sizes.inpaint_side, IMAGE_HEIGHT.multiple_of)
    image, repaint = prepare(crop, crop_hole, fit)
    generator = np.random.default_rng([painting.seed, NOISE_STREAM])
    conditions = {
        "contexts": contexts,
        "mask": repaint[None, ::LATENT_STRIDE, ::LATENT_STRIDE],
        "masked_image_latents": vae.encode(networks, image * (1 - repaint), generator),
    }
    noise = generator.standard_normal(conditions["masked_image_latents"].shape, np.float32)
    trajectory, calls = start(
        painting.sampler,
        noise,
        painting.steps,
        painting.guidance,
        family="inpainting",
        eta=0.0,
        generator=generator,
    )
    sample = Sample(trajectory, calls, noise.shape, conditions)
    with closing(stepper(INPAINT_UNET, [sample], on_step)) as driven:
        (finished,) = driven
    painted = decode_crop(networks, finished[0], fit, may_be_black=image.max() <= BLACK)
    faded = feathered_inside(crop_hole, painting.grown_px * FEATHER_SHARE)
    return Patch(blend(crop, painted, faded), place)


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


def decode_crop(networks: Networks, latents: NDArray[np.float32], fit: Fit, *, may_be_black: bool) -> Picture:
    """Scaled latents to the crop's own size: decoded, rounded, padding cut off, resized back with LANCZOS."""
    image = vae.decode(networks, latents[None])[0]
    refuse_not_numbers(image, "the background")
    if not may_be_black:
        refuse_black(image, "the background")
    return resized(fit.unpadded(np.rint(unsigned(image)).astype(np.uint8)), fit.original, LANCZOS)
