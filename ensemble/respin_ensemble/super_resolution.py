"""The novel view, four times larger. EDSR x4 (Lim et al. 2017, arXiv:1707.02921)."""

from __future__ import annotations

import numpy as np

from respin.contracts.networks import EDSR
from respin_ensemble.networks import Networks
from respin_ensemble.pictures import Picture, channels_first, channels_last


def enlarge(networks: Networks, view: Picture) -> Picture:
    """(h, w, 3) uint8 to (4h, 4w, 3) uint8; rounded and clipped as EDSR-PyTorch's `quantize` does."""
    upscaled = networks(EDSR, image=channels_first(view)[None])["upscaled"][0]
    return np.clip(np.rint(channels_last(upscaled)), 0, 255).astype(np.uint8)
