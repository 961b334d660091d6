"""The novel view, four times larger. EDSR x4 (Lim et al. 2017, arXiv:1707.02921)."""

from __future__ import annotations

from respin.contracts.networks import EDSR
from respin_ensemble.imaging.tensors import Picture, channels_first, whole_levels
from respin_ensemble.networks import Networks


def enlarge(networks: Networks, view: Picture) -> Picture:
    """(h, w, 3) uint8 to (4h, 4w, 3) uint8; rounded and clipped as EDSR-PyTorch's `quantize` does."""
    return whole_levels(networks(EDSR, image=channels_first(view)[None])["upscaled"][0])
