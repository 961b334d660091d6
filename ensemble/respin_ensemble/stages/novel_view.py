"""The object from another side, with Zero123-XL (Liu et al. 2023, arXiv:2303.11328), as in zero123/gradio_new.py."""

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
    check_finite,
    check_not_black,
    from_signed,
    resize,
    to_signed,
)
from respin_ensemble.networks import Networks
from respin_ensemble.sampling import SamplingParams, start
from respin_ensemble.stages import vae

CLIP_SIDE = 224
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)[:, None, None]
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)[:, None, None]

NOISE_STREAM = 0
"""Seed component that separates the random numbers of novel views from those of the background."""

CAMERA_NUMBERS = 4
"""Length of the encoding of a camera move (`camera_shift`)."""

BAND_PX = 2**20
"""Pixels that are cut and resized at a time, at most, unless a single row has more."""

CUBIC = -0.75
"""The parameter of PyTorch's bicubic kernel (Keys 1981)."""


def object_on_white(
    photo: Picture, mask: Mask, *, side: int, object_share: float, band_px: int = BAND_PX
) -> tuple[Picture, Placement]:
    """Cut the object out as Zero123 expects it: centred on a white square.

    Everything else becomes white at the photo's own size, before resizing, so that no fringe of the room remains.

    Args:
        photo: (H, W, 3) uint8 RGB.
        mask: (H, W) bool with at least one true pixel.
        side: side of the returned square, px.
        object_share: length of the object's longer side, as a share of the square's side.
        band_px: pixels that are cut and resized at a time.

    Returns:
        (side, side, 3) uint8, and the square of the photo that it shows.
    """
    inner = bounding_box(mask)
    square = square_around(inner, object_share)
    part = inner.within(Size.from_array(mask))
    alone = np.where(mask[part][..., None], photo[part], np.uint8(255))
    moved = Placement(square.left - inner.left, square.top - inner.top, square.width, square.height)
    return _resize_cut(alone, moved, Size(side, side), band_px), square


def _resize_cut(picture: Picture, place: Placement, size: Size, band_px: int) -> Picture:
    """Return a rectangle, white where it leaves the picture, resized with LANCZOS.

    The rectangle may be far larger than the picture, so it is cut in bands of rows. The pixels are those of one resize:
    Pillow resizes the rows first, which do not depend on each other, then the columns, each with 8 bits.
    """
    rows = max(1, band_px // place.width)
    bands = []
    for top in range(0, place.height, rows):
        band = Placement(place.left, place.top + top, place.width, min(rows, place.height - top))
        bands.append(resize(cut(picture, band, fill=255), Size(band.height, size.width), LANCZOS))
    return resize(np.concatenate(bands), size, LANCZOS)


@dataclass(frozen=True, eq=False)
class Condition:
    """The conditioning of Zero123 on an object, without a camera move: computed once per photo.

    Args:
        image_latents: (4, side / 8, side / 8) float32, the mean of the VAE's posterior, not scaled.
        context: (1, 768) float32, the output of `clip_vision` for a camera at zero.
    """

    image_latents: NDArray[np.float32]
    context: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes."""
        return self.image_latents.nbytes + self.context.nbytes


def encode_condition(networks: Networks, picture: Picture) -> Condition:
    """Encode an object for any number of camera moves.

    Args:
        networks: the networks of the set.
        picture: (side, side, 3) uint8, the object on white.
    """
    image = to_signed(picture)
    unmoved = np.zeros((1, CAMERA_NUMBERS), np.float32)
    return Condition(
        vae.encode_mean(networks, image),
        networks(CLIP_VISION, image=clip_image(image)[None], camera=unmoved)["context"][0],
    )


class CameraProjection:
    """The camera part of Zero123's `cc_projection`: adds camera moves to a context without another call of the network.

    The projection behind CLIP is linear in embedding and camera together, so a move adds the same vector to the context
    of every object. Its weights are measured once, with a blank picture.

    Args:
        networks: the networks of the set.
    """

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._lock = threading.Lock()
        self._weights: NDArray[np.float32] | None = None

    def contexts(self, condition: Condition, moves: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
        """Return the context of an object for each (azimuth, polar) in degrees, (N, 1, 768) float32."""
        cameras = np.stack([camera_shift(azimuth, polar) for azimuth, polar in moves])
        with self._lock:
            if self._weights is None:
                self._weights = self._measure_weights()
        shifts: NDArray[np.float32] = cameras @ self._weights
        return condition.context[None] + shifts[:, None]

    def _measure_weights(self) -> NDArray[np.float32]:
        """Return what each camera number adds to the context, (4, 768)."""
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
    sampling: SamplingParams,
    seed: int,
    on_step: OnStep,
) -> Generator[tuple[int, Picture]]:
    """Sample the object from other sides, all views in the same batches.

    Args:
        networks: the networks of the set.
        stepper: runs the UNet.
        condition: the object.
        contexts: (N, 1, 768), one per view, from `CameraProjection`.
        sampling: sampler, steps, guidance and eta.
        seed: view i draws its noise from (seed, i), independently of the other views.
        on_step: progress callback.

    Yields:
        The index of a view and the view, (side, side, 3) uint8, as each is done.

    Raises:
        InternalError: a view is black or not finite.
    """
    samples = []
    for view, context in enumerate(contexts):
        generator = np.random.default_rng([seed, NOISE_STREAM, view])
        noise = generator.standard_normal(condition.image_latents.shape, np.float32)
        conditions = {"context": context, "image_latents": condition.image_latents}
        samples.append(start(sampling, noise, conditions, family="zero123", generator=generator))
    with closing(stepper(ZERO123_UNET, samples, on_step)) as groups:
        for finished in groups:
            images = vae.decode(networks, np.stack(list(finished.values())))
            for view, image in zip(finished, images, strict=True):
                check_finite(image, f"view {view}")
                check_not_black(image, f"view {view}")
                # Truncated, not rounded: upstream casts to uint8.
                yield view, from_signed(image).astype(np.uint8)


def clip_image(tensor: Array) -> NDArray[np.float32]:
    """Convert (3, side, side) in -1..1 to (3, 224, 224), the input of Zero123's CLIP tower.

    Bicubic with aligned corners and without averaging (kornia's resize, which upstream calls). The usual CLIP
    preprocessing gives different pixels.
    """
    taps = _bicubic_taps(tensor.shape[1], CLIP_SIDE)
    narrower = np.sum([tensor[:, :, pixels] * weights for pixels, weights in taps], axis=0)
    small = np.sum([narrower[:, pixels] * weights[:, None] for pixels, weights in taps], axis=0)
    normalised: NDArray[np.float32] = (((small + 1) / 2 - CLIP_MEAN) / CLIP_STD).astype(np.float32)
    return normalised


@cache
def _bicubic_taps(length: int, wanted: int) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Return the four source pixels of each target pixel, (wanted,), and their weights, (wanted,).

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
