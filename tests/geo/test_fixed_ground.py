"""Planes with a place on the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.ports import Ground
from geo.crs import MetricFrame
from geo.fixed_ground import FixedGround
from geo.homography import Homography
from geo.tsai import read_tsai

#: A street camera 6 m up: forty metres of ground in the picture.
MATRIX = np.array([[0.02, 0.002, -20.0], [0.001, -0.01, 25.0], [0.0, 0.0012, -0.2]])
QINGDAO = (120.3846, 36.0614)
PIXELS = np.array([[960.0, 1000.0], [500.0, 700.0], [960.0, 100.0]])


def test_metres_become_degrees_about_the_origin() -> None:
    ground: Ground = FixedGround(Homography(MATRIX), QINGDAO)
    points = ground.points(PIXELS)
    assert points is not None
    assert points.seen.tolist() == [True, True, False]
    frame = MetricFrame(4549)
    east, north = frame.to_metric(points.lon_deg, points.lat_deg)
    here = frame.to_metric(*QINGDAO)
    away = np.hypot(east - here[0], north - here[1])[:2]
    assert away == pytest.approx(np.hypot(*ground.metres(PIXELS)[:2].T), rel=2e-4)
    for column in points[:-1]:
        assert np.isnan(column).tolist() == [False, False, True]


def test_the_ellipse_lies_along_the_line_of_sight() -> None:
    """North is up the picture: a pixel error is longest away from the camera."""
    away = np.array([[0.05, 0.0, -48.0], [0.0, 0.0, 30.0], [0.0, 0.002, -0.2]])
    points = FixedGround(Homography(away), QINGDAO).points(np.array([[960.0, 400.0]]))
    assert points is not None
    assert min(points.error_azimuth_deg[0], 180.0 - points.error_azimuth_deg[0]) < 5.0
    assert points.error_major_m[0] > points.error_minor_m[0] > 0.0


def test_without_an_origin_there_are_metres_alone() -> None:
    ground = FixedGround(Homography(MATRIX), from_above=True)
    assert ground.points(PIXELS) is None
    assert ground.from_above
    assert np.isfinite(ground.metres(PIXELS[:2])).all()


@pytest.mark.realdata
def test_the_ellipse_of_a_published_calibration_is_that_of_shaken_pixels(realdata: Path) -> None:
    camera = read_tsai(realdata / "video" / "pets2009" / "data" / "calibration" / "View_001.xml")
    pixel = np.array([[400.0, 300.0]])
    shaken = pixel + np.random.default_rng(2).normal(0.0, 1.0, (40_000, 2))
    points, seen = camera.to_ground(shaken)
    assert seen.all()
    assert camera.covariance(pixel)[0] == pytest.approx(np.cov(points.T), rel=0.05, abs=1e-4)
