from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.distance import bearing_deg, destination, distance_m


@pytest.mark.parametrize(
    ("end", "metres", "bearing"),
    [
        ((120.0, 36.0), 0.0, None),
        ((120.0, 37.0), 110_968.9, 0.0),
        ((120.1, 36.0), 9_016.4, 90.0),
        ((119.9, 36.0), 9_016.4, 270.0),
    ],
    ids=["nowhere", "north", "east", "west"],
)
def test_known_lines(end: tuple[float, float], metres: float, bearing: float | None) -> None:
    assert float(distance_m(120.0, 36.0, *end)) == pytest.approx(metres, rel=1e-4)
    if bearing is not None:
        assert float(bearing_deg(120.0, 36.0, *end)) == pytest.approx(bearing, abs=0.05)


def test_arguments_broadcast_and_unknown_stays_unknown() -> None:
    metres = distance_m([[120.0], [np.nan]], 36.0, [120.0, 121.0, np.inf], 36.0)
    assert metres.shape == (2, 3)
    assert np.isnan(metres).tolist() == [[False, False, True], [True, True, True]]


@settings(deadline=None)
@given(st.floats(-179.0, 179.0), st.floats(-80.0, 80.0), st.floats(0.0, 359.9), st.floats(1.0, 1e5))
def test_destination_undoes_distance_and_bearing(
    lon: float, lat: float, bearing: float, metres: float
) -> None:
    there = destination(lon, lat, bearing, metres)
    assert float(distance_m(lon, lat, *there)) == pytest.approx(metres, abs=1e-3)
    back = float(bearing_deg(lon, lat, *there))
    assert abs((back - bearing + 180.0) % 360.0 - 180.0) < 1e-3
