"""The object from its new side. Zero123-XL (Liu et al. 2023, arXiv:2303.11328), as zero123/gradio_new.py runs it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from respin.camera import camera_shift
from respin.contracts.networks import CLIP_VISION, ZERO123_UNET
from respin.geometry import Placement, Size, bounding_box, cut, square_around
from respin.specs import Array
from respin_ensemble.batching.stepper import OnStep, Stepper
from respin_ensemble.imaging.tensors import (
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

CLIP_SIDE = 224
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)[:, None, None]
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)[:, None, None]

NOISE_STREAM = 0
"""Marks the random numbers of novel views among those of one seed."""

CAMERA_NUMBERS = 4
"""In which `camera_shift` tells a move."""

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


@dataclass(frozen=True, eq=False)
class Condition:
    """What Zero123 is told of an object, whatever side it is to be turned to: made once a photo.

    Args:
        image_latents: (4, side / 8, side / 8) float32, the VAE's mean, not scaled.
        context: (1, 768) float32, of `clip_vision` with the camera's four numbers at zero.
    """

    image_latents: NDArray[np.float32]
    context: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.image_latents.nbytes + self.context.nbytes


def condition_of(networks: Networks, picture: Picture) -> Condition:
    """Look at an object once, for any number of camera moves.

    Args:
        networks: of the set.
        picture: (side, side, 3) uint8, the object on white.
    """
    image = signed(picture)
    unmoved = np.zeros((1, CAMERA_NUMBERS), np.float32)
    return Condition(
        vae.encode_mean(networks, image),
        networks(CLIP_VISION, image=clip_image(image)[None], camera=unmoved)["context"][0],
    )


class Moves:
    """Camera moves as the contexts of any object, without another look at the object.

    The projection behind CLIP is linear in embedding and camera together (Zero123's `cc_projection`), so what a move
    adds to a context is the same for every object: it is read off the network once, with a blank picture.

    Args:
        networks: of the set.
    """

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._lock = threading.Lock()
        self._weights: NDArray[np.float32] | None = None

    def contexts(self, condition: Condition, moves: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
        """(N, 1, 768) float32: the context of each (azimuth, polar) in degrees."""
        cameras = np.stack([camera_shift(azimuth, polar) for azimuth, polar in moves])
        with self._lock:
            if self._weights is None:
                self._weights = self._read_off()
        shifts: NDArray[np.float32] = cameras @ self._weights
        return condition.context[None] + shifts[:, None]

    def _read_off(self) -> NDArray[np.float32]:
        """(4, 768): what one of each of the camera's numbers adds."""
        cameras = np.eye(1 + CAMERA_NUMBERS, CAMERA_NUMBERS, k=-1, dtype=np.float32)
        blank = np.zeros((len(cameras), 3, CLIP_SIDE, CLIP_SIDE), np.float32)
        contexts = self._networks(CLIP_VISION, image=blank, camera=cameras)["context"][:, 0]
        weights: NDArray[np.float32] = contexts[1:] - contexts[:1]
        return weights


def turn(
    networks: Networks,
    stepper: Stepper,
    condition: Condition,
    contexts: NDArray[np.float32],
    *,
    sampler: str,
    steps: int,
    guidance: Guidance,
    eta: float,
    seed: int,
    on_step: OnStep,
) -> Generator[tuple[int, Picture]]:
    """Imagine the object from other sides, all of them together.

    Args:
        networks: of the set.
        stepper: drives the UNet.
        condition: the object.
        contexts: (N, 1, 768), of `Moves`, one a view.
        sampler: by its name in a request.
        steps: asked of it; DDIM, on upstream's schedule, may run others (`zero123_schedule`).
        guidance: classifier-free.
        eta: of DDIM; the other samplers add no noise.
        seed: view i draws its noise from (seed, i), whatever company it has.
        on_step: called after each step.

    Yields:
        The index of a view and the view, (side, side, 3) uint8, as each is done.

    Raises:
        InternalError: a view came out as no picture.
    """
    samples = []
    for view, context in enumerate(contexts):
        generator = np.random.default_rng([seed, NOISE_STREAM, view])
        noise = generator.standard_normal(condition.image_latents.shape, np.float32)
        conditions = {"context": context, "image_latents": condition.image_latents}
        trajectory, calls = start(sampler, noise, steps, guidance, family="zero123", eta=eta, generator=generator)
        samples.append(Sample(trajectory, calls, noise.shape, conditions))
    with closing(stepper(ZERO123_UNET, samples, on_step)) as driven:
        for finished in driven:
            images = vae.decode(networks, np.stack(list(finished.values())))
            for view, image in zip(finished, images, strict=True):
                refuse_not_numbers(image, f"view {view}")
                refuse_black(image, f"view {view}")
                # Truncated, not rounded: upstream casts to uint8.
                yield view, unsigned(image).astype(np.uint8)


def clip_image(tensor: Array) -> NDArray[np.float32]:
    """(3, side, side) in -1..1 to (3, 224, 224) as Zero123's CLIP tower reads it.

    Bicubic with the corners aligned and no averaging (kornia's resize, which upstream calls); the usual CLIP
    preprocessing gives another picture.
    """
    taps = _bicubic_taps(tensor.shape[1], CLIP_SIDE)
    narrower = np.sum([tensor[:, :, pixels] * weights for pixels, weights in taps], axis=0)
    small = np.sum([narrower[:, pixels] * weights[:, None] for pixels, weights in taps], axis=0)
    normalised: NDArray[np.float32] = (((small + 1) / 2 - CLIP_MEAN) / CLIP_STD).astype(np.float32)
    return normalised


@cache
def _bicubic_taps(length: int, wanted: int) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """The four old pixels that make each new one, (wanted,), and their weights, (wanted,).

    Corners are aligned, edges repeated.
    """
    at = np.linspace(0, length - 1, wanted)
    taps = []
    for offset in range(-1, 3):
        pixel = np.floor(at) + offset
        distance = np.abs(at - pixel)
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        taps.append((np.clip(pixel, 0, length - 1).astype(np.intp), weight))
    return taps
