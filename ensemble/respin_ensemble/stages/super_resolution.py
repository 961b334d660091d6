"""The novel view at four times its size, with EDSR x4 (Lim et al. 2017, arXiv:1707.02921)."""

from __future__ import annotations

from respin.contracts.networks import EDSR
from respin_ensemble.imaging.tensors import Picture, channels_first, to_uint8
from respin_ensemble.networks import Networks


def enlarge(networks: Networks, view: Picture) -> Picture:
    """Enlarge (h, w, 3) uint8 to (4h, 4w, 3) uint8; rounded and clipped as in EDSR-PyTorch's `quantize`."""
    return to_uint8(networks(EDSR, image=channels_first(view)[None])["upscaled"][0])
