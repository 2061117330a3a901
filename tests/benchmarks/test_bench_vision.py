"""The benchmark's short version: no event missed, no slower than the peer, better foreground."""

from __future__ import annotations

from benchmarks.bench_vision import f_measures, speed
from benchmarks.vision_scenes import tally
from geo.city import generate_city
from simulators.rendering import CityPainter


def test_no_event_is_lost_for_speed():
    figures = {one.figure: one for one in speed(640, 360, 700.0, 180, 1)}
    assert figures["events of the car that stopped, 640x360"].value == 1
    ratio = figures["JPEG to events, 640x360"].ratio
    assert ratio is not None
    assert ratio > 1.5  # the goal of 3.5 is for a quiet machine


def test_the_foreground_is_better_than_mog2_in_every_scene():
    figures = f_measures(110)
    assert len(figures) == 6
    for one in figures:
        assert one.ratio is not None
        assert one.ratio > 1.0, one


def test_what_stands_is_told_of_inside_its_ellipse_and_nothing_else_is():
    city = generate_city(7)
    painter = CityPainter(city, 7)
    for name in ("clear", "sun", "rain"):
        for camera_id in ("camera-1", "camera-2"):
            assert tally(name, city, painter, camera_id, 7) == (2, 2, 2, 2), (name, camera_id)
