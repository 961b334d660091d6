"""Latents of rendered pictures, encoded once by the trained VAE and kept beside the pictures.

The two UNets are trained on latents alone, so an hour of training reads them from memory instead of encoding each
picture again at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from respin.specs import Array
from respin_export.mini.vae import LATENT_SCALE, MiniVaeEncoder

PART = 64
"""Number of pictures encoded at a time."""


@torch.no_grad()
def encode(encoder: MiniVaeEncoder, images: Array) -> Array:
    """Encode pictures.

    Args:
        encoder: encoder with its statistics set.
        images: (N, H, W, 3) uint8.

    Returns:
        (N, 4, H/8, W/8) float16: the latents after the scale 0.18215, of about unit variance.
    """
    parts = []
    for start in range(0, len(images), PART):
        image = torch.from_numpy(np.ascontiguousarray(images[start : start + PART])).permute(0, 3, 1, 2)
        signed = (image.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            mean = encoder(signed)[0]
        parts.append((mean.float() * LATENT_SCALE).half().numpy())
    return np.concatenate(parts)


def encode_chunks(
    folder: Path,
    latents: Path,
    make: Callable[[Mapping[str, Array]], Mapping[str, Array]],
    *,
    on_chunk: Callable[[int], None] = lambda _: None,
) -> None:
    """Encode a data set of pictures to one of latents, chunk by chunk; existing chunks are kept.

    Args:
        folder: folder of the pictures.
        latents: folder of the latents.
        make: converts the arrays of a chunk of pictures to those of a chunk of latents.
        on_chunk: called with the number of chunks done.
    """
    for index, path in enumerate(sorted(each for each in folder.glob("chunk-*") if each.suffix == "")):
        if (latents / path.name).is_dir():
            continue
        arrays = {file.stem: np.load(file, mmap_mode="r") for file in path.glob("*.npy")}
        draft = latents / f"{path.name}.draft"
        draft.mkdir(parents=True, exist_ok=True)
        for name, array in make(arrays).items():
            np.save(draft / f"{name}.npy", array)
        draft.rename(latents / path.name)
        on_chunk(index + 1)


def statistics(encoder: MiniVaeEncoder, pictures: Iterable[Array]) -> tuple[Tensor, Tensor]:
    """Measure mean and standard deviation of raw latents, (4, 1, 1) each, over batches (N, H, W, 3) uint8."""
    raw = []
    with torch.no_grad():
        for images in pictures:
            image = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
            raw.append(encoder.raw(image)[0].permute(1, 0, 2, 3).flatten(1))
    values = torch.cat(raw, dim=1)
    return values.mean(dim=1)[:, None, None], values.std(dim=1)[:, None, None]
