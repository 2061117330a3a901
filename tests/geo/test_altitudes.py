"""Altitudes cannot be mixed up, and errors add as errors do."""

from __future__ import annotations

import numpy as np
import pytest

from core.city import AltitudeDatum
from core.errors import GeometryError
from geo.altitudes import (
    Altitudes,
    EllipsoidHeights,
    GroundHeights,
    MslAltitudes,
    TakeoffHeights,
    by_datum,
)


def test_from_take_off_to_true_height() -> None:
    flight = TakeoffHeights.of([80.0, np.nan], 0.5)
    ground = flight.to_msl(MslAltitudes.of([12.0], 1.0)).to_ground([30.0, 30.0], 2.0)
    assert isinstance(ground, GroundHeights)
    assert ground.metres[0] == 62.0
    assert np.isnan(ground.metres[1])
    assert ground.sigma_m[0] == pytest.approx(np.sqrt(0.25 + 1.0 + 4.0))


def test_the_geoid_goes_there_and_back() -> None:
    height = EllipsoidHeights.of([100.0, -3.0])
    again = height.to_msl(8.5).to_ellipsoid(8.5)
    assert again.metres.tolist() == [100.0, -3.0]
    assert GroundHeights.of([5.0]).to_msl(30.0, 0.0).to_ground(30.0, 0.0).metres.tolist() == [5.0]


def test_a_limit_is_surely_broken_only_beyond_the_error() -> None:
    heights = GroundHeights.of([121.0, 125.0, np.nan], 2.0)
    assert heights.surely_above(120.0).tolist() == [False, True, False]
    assert heights.surely_above(120.0, sigmas=0.0).tolist() == [True, True, False]


@pytest.mark.parametrize("kind", [EllipsoidHeights, MslAltitudes, TakeoffHeights, GroundHeights])
def test_other_datums_are_refused(kind: type[Altitudes]) -> None:
    others = {EllipsoidHeights, MslAltitudes, TakeoffHeights, GroundHeights} - {kind}
    for other in others:
        with pytest.raises(GeometryError, match="convert it first"):
            kind.of([1.0]).minus(other.of([1.0]))


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(GeometryError, match="sigma_m of shape"):
        MslAltitudes.of([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(GeometryError, match="errors >= 0"):
        MslAltitudes.of([1.0], -1.0)
    with pytest.raises(GeometryError, match="twice"):
        by_datum(MslAltitudes.of([1.0]), MslAltitudes.of([2.0]))


def test_columns_are_those_of_the_tagger() -> None:
    columns = by_datum(GroundHeights.of([1.0]), EllipsoidHeights.of([2.0]))
    assert {datum: values.tolist() for datum, values in columns.items()} == {
        AltitudeDatum.AGL: [1.0],
        AltitudeDatum.WGS84: [2.0],
    }
