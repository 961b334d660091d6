"""Changes of colour, sharpness and grain that keep an object's outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from respin.specs import Array
from respin_export.training.composites import smooth_noise

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def recolour(picture: Array, mask: Array, generator: np.random.Generator) -> Array:
    """Change the colours of a picture, sometimes of its object alone, then blur it or add noise.

    Args:
        picture: (H, W, 3) uint8.
        mask: (H, W) bool: the object of the picture.
        generator: source of randomness.
    """
    changed = shift_colours(picture.astype(np.float32), generator)
    if generator.random() < 0.25:
        own = shift_colours(picture.astype(np.float32), generator)
        changed = np.where(mask[..., None], own, changed)
    if generator.random() < 0.3:
        height, width = mask.shape
        cloud = smooth_noise(height, width, generator) * generator.uniform(0.05, 0.3)
        region = np.float32(1) if generator.random() < 0.4 else (mask == (generator.random() < 0.5)).astype(np.float32)
        changed = changed * (1 + cloud * region)[..., None]
    if generator.random() < 0.3:
        changed = changed + generator.normal(0, generator.uniform(1, 12), (*mask.shape, 1)).astype(np.float32)
    result = changed.clip(0, 255).astype(np.uint8)
    if generator.random() < 0.3:
        radius = generator.uniform(0.3, 1.6) * max(mask.shape) / 256
        result = np.asarray(Image.fromarray(result).filter(ImageFilter.GaussianBlur(radius)))
    return result


def shift_colours(picture: Array, generator: np.random.Generator) -> NDArray[np.float32]:
    """Change brightness, contrast, saturation and channels of a picture, (H, W, 3) in 0..255."""
    uniform = generator.uniform
    if generator.random() < 0.3:
        picture = picture[..., generator.permutation(3)]
    grey = (picture @ LUMA)[..., None]
    saturation = 0.0 if generator.random() < 0.12 else uniform(0.2, 1.3)
    picture = grey + (picture - grey) * np.float32(saturation)
    gain = uniform(0.55, 1.35) * uniform(0.85, 1.15, 3).astype(np.float32)
    return np.asarray((picture - 128) * gain + 128 + uniform(-50, 50), np.float32)
