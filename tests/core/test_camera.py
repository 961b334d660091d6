"""Camera moves."""

import numpy as np

from respin.camera import camera_shift


def test_a_move_is_encoded_as_zero123_reads_it():
    shift = camera_shift(azimuth=80, polar=-10)
    np.testing.assert_allclose(shift, [np.radians(-10), np.sin(np.radians(80)), np.cos(np.radians(80)), 0], rtol=1e-6)
    assert shift.dtype == np.float32


def test_a_full_turn_is_no_turn():
    np.testing.assert_allclose(camera_shift(360, 0), camera_shift(0, 0), atol=1e-6)


def test_left_and_right_differ_and_up_and_down_differ():
    assert camera_shift(30, 0)[1] == -camera_shift(-30, 0)[1]
    assert camera_shift(0, 30)[0] == -camera_shift(0, -30)[0]
