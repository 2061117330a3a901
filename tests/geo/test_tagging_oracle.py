"""The tagger's answers against a tagger that asks shapely's trees, as it did at first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.city import AltitudeDatum, LayerRole
from geo.city import City, load_city
from geo.tagging import MAX_ROAD_DISTANCE_M, Tagger

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]

STANDS_IN = {
    AltitudeDatum.AGL: AltitudeDatum.TAKEOFF,
    AltitudeDatum.TAKEOFF: AltitudeDatum.AGL,
}
LEVELS = (LayerRole.GRID, LayerRole.COMMUNITY, LayerRole.STREET, LayerRole.DISTRICT)
FIELDS = ("grid_code", "community_code", "street_code", "district_code")
DIGITS = (15, 12, 9, 6)


class Oracle:
    """What shapely says, by trees over each role's features."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.columns: dict[LayerRole, dict[str, list[Any]]] = {}
        self.trees: dict[LayerRole, shapely.STRtree] = {}
        for role in LayerRole:
            layers = city.layers_of(role)
            shapes = np.concatenate([np.empty(0, object), *(one.geometries for one in layers)])
            if role is LayerRole.ROAD:
                shapes = city.frame.geometry_to_metric(shapes)
            self.trees[role] = shapely.STRtree(shapes)
            self.columns[role] = {
                name: [value for one in layers for value in one.column(name)]
                for name in ("feature_id", "code", "name", "floor_m", "ceiling_m", "datum")
            }

    def pairs(self, role: LayerRole, points: NDArray[np.object_]) -> Pairs:
        rows, features = self.trees[role].query(points, predicate="intersects")
        order = np.lexsort((features, rows))
        return rows[order], features[order]

    def ids(self, role: LayerRole, pairs: Pairs, n: int) -> list[tuple[str, ...]]:
        found: list[list[str]] = [[] for _ in range(n)]
        for row, feature in zip(*pairs, strict=True):
            found[row].append(self.columns[role]["feature_id"][feature])
        return [tuple(one) for one in found]

    def codes(self, points: NDArray[np.object_]) -> list[tuple[str | None, ...]]:
        found: list[list[str | None]] = [[None] * 4 for _ in points]
        for level, role in enumerate(LEVELS):
            rows, features = self.pairs(role, points)
            for row in np.unique(rows):
                if found[row][level] is None:
                    first = features[rows == row].min()
                    code = self.columns[role]["code"][first]
                    found[row][level] = code or None
                    for upper in range(level + 1, 4):
                        prefix = code[: DIGITS[upper]]
                        known = self.columns[LEVELS[upper]]["code"]
                        if found[row][upper] is None and prefix in known:
                            found[row][upper] = prefix
        return [tuple(one) for one in found]

    def road(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64]
    ) -> list[tuple[str | None, float | None]]:
        east, north = self.city.frame.to_metric(lon, lat)
        (rows, features), away = self.trees[LayerRole.ROAD].query_nearest(
            shapely.points(east, north),
            max_distance=MAX_ROAD_DISTANCE_M,
            return_distance=True,
            all_matches=True,
        )
        found: list[tuple[str | None, float | None]] = [(None, None)] * len(lon)
        for number in np.lexsort((features, rows))[::-1]:
            name = self.columns[LayerRole.ROAD]["name"][features[number]]
            found[rows[number]] = (name or None, float(away[number]))
        return found

    def airspaces(
        self,
        points: NDArray[np.object_],
        altitudes: Mapping[AltitudeDatum, NDArray[np.float64]],
    ) -> tuple[Pairs, Pairs]:
        rows, features = self.pairs(LayerRole.AIRSPACE, points)
        columns = self.columns[LayerRole.AIRSPACE]
        inside, unsure = [], []
        for pair in zip(rows, features, strict=True):
            row, feature = pair
            datum = AltitudeDatum(columns["datum"][feature])
            seen = [
                altitudes[one][row] for one in (datum, STANDS_IN.get(datum)) if one in altitudes
            ]
            height = next((value for value in seen if not np.isnan(value)), None)
            floor = columns["floor_m"][feature]
            if datum in STANDS_IN and floor <= 0.0:
                floor = -np.inf
            if height is None:
                unsure.append(pair)
            elif floor <= height <= columns["ceiling_m"][feature]:
                inside.append(pair)
        both = [np.array(one, dtype=np.intp).reshape(-1, 2).T for one in (inside, unsure)]
        return (both[0][0], both[0][1]), (both[1][0], both[1][1])


def places_to_ask(city: City, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Anywhere, on features' corners, and a last digit beside them."""
    west, south, east, north = city.bounds
    anywhere = rng.uniform((west - 0.002, south - 0.002), (east + 0.002, north + 0.002), (count, 2))
    shapes = np.concatenate([one.geometries for one in city.layers.values()])
    corners = shapely.get_coordinates(shapes)
    corners = corners[rng.integers(0, len(corners), count)]
    beside = np.nextafter(corners, rng.choice([-np.inf, np.inf], corners.shape))
    return np.concatenate([anywhere, corners, beside])


def check(city: City, tagger: Tagger, oracle: Oracle, rng: np.random.Generator) -> None:
    lon, lat = places_to_ask(city, rng, 60).T
    n = len(lon)
    altitudes = {
        datum: rng.choice([-5.0, 0.0, 60.0, 90.0, 120.0, 121.0, np.nan], n)
        for datum in AltitudeDatum
        if rng.random() < 0.7
    }
    tags = tagger.tag(lon, lat, altitudes)
    points = np.asarray(shapely.points(lon, lat), dtype=object)
    zones = oracle.ids(LayerRole.ZONE, oracle.pairs(LayerRole.ZONE, points), n)
    inside, unsure = oracle.airspaces(points, altitudes)
    airspaces = oracle.ids(LayerRole.AIRSPACE, inside, n)
    codes, roads = oracle.codes(points), oracle.road(lon, lat)
    for row in range(n):
        place = tags.place(row)
        assert tuple(getattr(place, name) for name in FIELDS) == codes[row]
        assert (place.zones, place.airspaces) == (zones[row], airspaces[row])
        assert (place.road_name, place.road_distance_m) == roads[row]
    for layer in city.layers_of(LayerRole.AIRSPACE):
        for kind in set(layer.column("kind")):
            kinds = [
                one for air in city.layers_of(LayerRole.AIRSPACE) for one in air.column("kind")
            ]
            wanted = {row for row, one in zip(*unsure, strict=True) if kinds[one] == kind}
            assert set(np.flatnonzero(tags.airspace_unsure(kind)).tolist()) == wanted


@pytest.fixture(scope="module")
def asked(generated_city: City) -> tuple[Tagger, Oracle]:
    return Tagger(generated_city), Oracle(generated_city)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_generated_city(generated_city: City, asked: tuple[Tagger, Oracle], seed: int) -> None:
    check(generated_city, *asked, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", [1, 2026])
def test_other_generated_cities(seed: int) -> None:
    city = load_city("generated", seed=seed)
    check(city, Tagger(city), Oracle(city), np.random.default_rng(seed))
