"""Camera moves in the terms that Zero123 was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def camera_shift(azimuth: float, polar: float, radius: float = 0.0) -> NDArray[np.float32]:
    """Encode a camera move as Zero123 reads it.

    Args:
        azimuth: degrees; positive moves the camera right; periodic in 360.
        polar: degrees; positive moves the camera down.
        radius: -0.5..0.5; positive moves the camera away.

    Returns:
        (4,) float32: polar in radians, sin and cos of azimuth, radius
        (cvlab-columbia/zero123, zero123/gradio_new.py, `sample_model`).
    """
    turn = np.radians(azimuth)
    return np.array([np.radians(polar), np.sin(turn), np.cos(turn), radius], np.float32)
