"""The photo without the object, with Stable Diffusion 1.5 inpainting (Rombach et al. 2022, arXiv:2112.10752).

The constants are those of diffusers' StableDiffusionInpaintPipeline. Unlike it, this stage works on a crop around the
hole at the photo's own aspect ratio, and pastes the result back only inside the hole.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.contracts.networks import CLIP_TEXT, IMAGE_HEIGHT, INPAINT_UNET
from respin.geometry import Fit, Placement, Size, blend, bounding_box, cut, expand, fit_within, lay
from respin_ensemble.batching.stepper import OnStep, Stepper
from respin_ensemble.imaging.masks import feather_inside
from respin_ensemble.imaging.tensors import (
    BLACK,
    LANCZOS,
    Mask,
    Picture,
    check_finite,
    check_not_black,
    from_signed,
    resize,
    to_signed,
)
from respin_ensemble.networks import Networks
from respin_ensemble.sampling import SamplingParams, start
from respin_ensemble.stages import vae
from respin_ensemble.stages.tokenization import prompt_ids

NOISE_STREAM = 1
"""Seed component that separates the random numbers of backgrounds from those of novel views."""

LATENT_STRIDE = 8
"""Pixels per latent, in each direction."""

FEATHER_SHARE = 0.4
"""Width of the feathered edge of the paste, as a share of `grown_px`.

The hole grows by half of `grown_px` on each side. Over four fifths of this margin the paste fades into the photo: what
is known of the room is nearer to the truth than what is painted. The last fifth, beside the object, is painted in full,
because the edge of a mask is some pixels off.
"""


@dataclass(frozen=True)
class InpaintParams:
    """The parameters of an inpainting. With the photo and the hole, they determine the result.

    Args:
        prompt: what to paint.
        negative_prompt: what not to paint.
        sampling: sampler, steps, guidance and eta.
        grown_px: how much wider the hole is than the object; the paste fades over this margin.
        seed: seed of the noise.
    """

    prompt: str
    negative_prompt: str
    sampling: SamplingParams
    grown_px: int
    seed: int


@dataclass(frozen=True, eq=False)
class Patch:
    """The part of a photo that was repainted.

    Args:
        pixels: (h, w, 3) uint8.
        place: its position in the photo.
    """

    pixels: Picture
    place: Placement

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes."""
        return self.pixels.nbytes

    def paste_into(self, photo: Picture) -> Picture:
        """Return the photo with the patch, (H, W, 3) uint8; bit-identical to the photo outside the hole."""
        return lay(photo, self.pixels, self.place)


def fill(
    networks: Networks,
    stepper: Stepper,
    photo: Picture,
    hole: Mask,
    params: InpaintParams,
    *,
    contexts: NDArray[np.float32],
    on_step: OnStep,
) -> Patch:
    """Repaint a hole in a photo.

    Args:
        networks: the networks of the set.
        stepper: runs the UNet.
        photo: (H, W, 3) uint8 RGB.
        hole: (H, W) bool with at least one true pixel: what to repaint.
        params: the parameters of the inpainting.
        contexts: (2, 77, 768), the `text_contexts` of its prompts.
        on_step: progress callback.

    Raises:
        InternalError: the result is black or not finite.
    """
    place = crop_around(hole, Size.from_array(photo))
    crop, crop_hole = cut(photo, place, fill=0), cut(hole, place, fill=0)
    fit = fit_within(place.size, networks.sizes.inpaint_side, IMAGE_HEIGHT.multiple_of)
    image, repaint = prepare(crop, crop_hole, fit)
    generator = np.random.default_rng([params.seed, NOISE_STREAM])
    conditions = {
        "contexts": contexts,
        "mask": repaint[None, ::LATENT_STRIDE, ::LATENT_STRIDE],
        "masked_image_latents": vae.encode(networks, image * (1 - repaint), generator),
    }
    noise = generator.standard_normal(conditions["masked_image_latents"].shape, np.float32)
    sample = start(params.sampling, noise, conditions, family="inpainting", generator=generator)
    with closing(stepper(INPAINT_UNET, [sample], on_step)) as groups:
        (finished,) = groups
    painted = decode_crop(networks, finished[0], fit, may_be_black=image.max() <= BLACK)
    faded = feather_inside(crop_hole, params.grown_px * FEATHER_SHARE)
    return Patch(blend(crop, painted, faded), place)


def crop_around(hole: Mask, size: Size) -> Placement:
    """Return the crop that the inpainting works on: the hole with a margin of half its longer side."""
    inner = bounding_box(hole)
    return expand(inner, max(LATENT_STRIDE, inner.size.longest // 2), size)


def prepare(crop: Picture, hole: Mask, fit: Fit) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Convert a crop and its hole to the network's frame.

    Both are resized with LANCZOS and the hole is thresholded at one half, as in diffusers' image processor. The padding
    repeats the edge and counts as known.

    Returns:
        (3, h, w) float32 in -1..1, and (h, w) float32: 1 = repaint.
    """
    below, right = fit.padded.height - fit.fitted.height, fit.padded.width - fit.fitted.width
    image = np.pad(resize(crop, fit.fitted, LANCZOS), ((0, below), (0, right), (0, 0)), mode="edge")
    grey = resize(hole.astype(np.uint8) * np.uint8(255), fit.fitted, LANCZOS)
    repaint = np.pad(grey >= 127.5, ((0, below), (0, right)))
    return to_signed(image), repaint.astype(np.float32)


def text_contexts(networks: Networks, prompt: str, negative_prompt: str) -> NDArray[np.float32]:
    """Return the contexts of the prompt and of the negative prompt, (2, 77, 768), in the contract's order."""
    ids = np.stack([prompt_ids(text)[0] for text in (prompt, negative_prompt)])
    contexts: NDArray[np.float32] = networks(CLIP_TEXT, input_ids=ids)["context"]
    return contexts


def decode_crop(networks: Networks, latents: NDArray[np.float32], fit: Fit, *, may_be_black: bool) -> Picture:
    """Decode scaled latents, (4, h, w), to the crop's own size: rounded, without padding, resized back with LANCZOS."""
    image = vae.decode(networks, latents[None])[0]
    check_finite(image, "the background")
    if not may_be_black:
        check_not_black(image, "the background")
    return resize(fit.remove_padding(np.rint(from_signed(image)).astype(np.uint8)), fit.original, LANCZOS)
