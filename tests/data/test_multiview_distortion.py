"""Lens models against OpenCV's own, and undistorted pictures against where points must lie."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rsnb.data.multiview.distortion import (
    Distortion,
    distort,
    ideal_intrinsics,
    source_pixels,
    valid_radius,
)
from rsnb.errors import InputError

K = np.array([[310.0, 0, 165.5], [0, 302.0, 118.0], [0, 0, 1]])
LENSES = {
    "radial": (-0.21,), "radial2": (0.06, -0.08), "opencv": (-0.26, 0.10, 7e-4, -3e-3),
    "brown": (-0.26, 0.10, 7e-4, 2e-3, -0.026), "full": (0.1, -0.05, 1e-3, -1e-3, 0.02, 0.05, -0.02, 0.01),
}


def points(reach=0.5, n=200):
    return np.random.default_rng(0).uniform(-reach, reach, (n, 2))


@pytest.mark.parametrize("name", LENSES)
def test_polynomial_lenses_are_opencvs(name):
    coefficients = LENSES[name]
    plane = points()
    padded = np.zeros(5 if len(coefficients) <= 5 else 8)
    padded[:len(coefficients)] = coefficients
    spatial = np.c_[plane, np.ones(len(plane))]
    expected = cv2.projectPoints(spatial, np.zeros(3), np.zeros(3), np.eye(3), padded)[0][:, 0]
    assert np.abs(distort(Distortion("OPENCV", coefficients), plane) - expected).max() < 1e-12


def test_fisheye_is_opencvs():
    coefficients = np.array([0.03, -0.01, 0.004, -0.001])
    plane = points(1.5)
    expected = cv2.fisheye.distortPoints(plane[:, None], np.eye(3), coefficients)[:, 0]
    assert np.abs(distort(Distortion("OPENCV_FISHEYE", tuple(coefficients)), plane) - expected).max() < 1e-12


def test_fov_and_thin_prism_by_hand():
    # omega = 1: r_d = atan(2 r tan 0.5) / 1; at r = 0.5 atan(0.546302) = 0.499935...
    found = distort(Distortion("FOV", (1.0,)), np.array([[0.3, 0.4], [0.0, 0.0]]))
    assert found[0] == pytest.approx(np.array([0.6, 0.8]) * np.arctan(2 * 0.5 * np.tan(0.5)), abs=1e-12)
    assert found[1].tolist() == [0, 0]
    # theta = atan 0.75 along x: x' = theta (1 + k1 theta^2) + 3 p2 theta^2 + sx1 theta^2, y' = p1 theta^2 + sy1 theta^2
    t = np.arctan(0.75)
    found = distort(Distortion("THIN_PRISM_FISHEYE", (0.1, 0, 0.02, 0.03, 0, 0, 0.05, 0.07)), np.array([0.75, 0.0]))
    assert found == pytest.approx([t * (1 + 0.1 * t**2) + (3 * 0.03 + 0.05) * t**2, (0.02 + 0.07) * t**2], abs=1e-12)


def test_no_lens_changes_nothing_and_unknown_ones_say_so():
    plane = points(n=3)
    for lens in (None, Distortion("OPENCV", (0.0, 0.0)), Distortion("PINHOLE")):
        assert (distort(lens, plane) == plane).all()
    with pytest.raises(InputError, match="RAD_TAN_THIN_PRISM_FISHEYE is not supported.*Undistort"):
        distort(Distortion("RAD_TAN_THIN_PRISM_FISHEYE", (0.1,) * 12), plane)
    with pytest.raises(InputError, match="9 coefficients"):
        Distortion("OPENCV", (0.1,) * 9)


def test_source_pixels_are_opencvs_maps():
    ideal = K * np.array([[1.2, 1, 1], [1, 1.2, 1], [1, 1, 1]])
    shift = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # OpenCV counts pixel centres at integers
    found = source_pixels(K, Distortion("OPENCV", LENSES["brown"]), ideal, (331, 237))
    x, y = cv2.initUndistortRectifyMap(K - shift, np.array(LENSES["brown"]), None, ideal - shift, (331, 237),
                                       cv2.CV_32F)
    assert np.abs(found - np.stack([x, y], -1)).max() < 1e-3
    fisheye = (0.03, -0.01, 0.004, -0.001)
    found = source_pixels(K, Distortion("OPENCV_FISHEYE", fisheye), ideal, (331, 237))
    x, y = cv2.fisheye.initUndistortRectifyMap(K - shift, np.array(fisheye), None, ideal - shift, (331, 237),
                                               cv2.CV_32F)
    assert np.abs(found - np.stack([x, y], -1)).max() < 1e-3


@pytest.mark.parametrize("lens", [Distortion("OPENCV", c) for c in LENSES.values()]
                         + [Distortion("OPENCV_FISHEYE", (0.03, -0.01)), Distortion("FOV", (0.9,))])
def test_widest_view_without_empty_pixels(lens):
    size = (331, 237)
    ideal = ideal_intrinsics(K, lens, size)
    source = source_pixels(K, lens, ideal, size) + 0.5
    assert (source >= -0.01).all() and (source <= np.array(size) + 0.01).all()  # between the points looked at
    # and it is the widest: a focal length 1 % shorter looks past the border
    wider = source_pixels(K, lens, ideal * np.array([[0.99, 1, 1], [1, 0.99, 1], [1, 1, 1]]), size) + 0.5
    assert (wider < 0).any() or (wider > np.array(size)).any()
    assert (ideal[:, 2] == K[:, 2]).all() and ideal[0, 0] / ideal[1, 1] == pytest.approx(K[0, 0] / K[1, 1])


def test_a_fisheye_keeps_half_of_its_resolution():
    # 237 pixels at 80 pixels a radian are 170 degrees: a pinhole picture of all of it would have a seventh of the focal
    # length (tan 85 degrees = 11), and nothing would be left of the middle
    K = np.array([[80.0, 0, 165.5], [0, 80.0, 118.5], [0, 0, 1]])
    ideal = ideal_intrinsics(K, Distortion("OPENCV_FISHEYE"), (331, 237))
    assert ideal.tolist() == [[40, 0, 165.5], [0, 40, 118.5], [0, 0, 1]]


def test_where_a_lens_folds_over():
    # r (1 - 0.3 r^2) grows until r^2 = 1 / 0.9
    assert valid_radius(Distortion("OPENCV", (-0.3,))) == pytest.approx(np.sqrt(1 / 0.9), rel=2e-3)
    assert valid_radius(Distortion("OPENCV", (0.3,))) == np.inf
    with pytest.raises(InputError, match="leave nothing of the picture"):
        ideal_intrinsics(K, Distortion("OPENCV", (-900.0,)), (331, 237))
