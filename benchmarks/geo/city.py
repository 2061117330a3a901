"""All that the map says of a batch: areas of four levels, road, zones, airspace, component."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from benchmarks.geo.made import SIDE_M, Floats, Shapes, roads, volumes, zones
from benchmarks.harness import Figure, at_most, median_seconds
from core.city import AltitudeDatum, LayerRole
from core.incidents import Text
from core.observations import MAX_BATCH
from geo.components import Components, NearComponent
from geo.crs import MetricFrame
from geo.layers import Layer, build_layer
from geo.model import City
from geo.table_cache import TableCache
from geo.tagging import Tagger, Tags

_EPSG = 4549
_GOAL_MS = 1.5
_CALLS = 20

#: The map lies in the projected plane's own surroundings.
_ORIGIN = np.array([450_000.0, 3_950_000.0])

#: Areas: role, digits of its codes, at least how many there are in the full size: squares.
_LEVELS = (
    (LayerRole.DISTRICT, 6, 16),
    (LayerRole.STREET, 9, 140),
    (LayerRole.COMMUNITY, 12, 1_500),
    (LayerRole.GRID, 15, 30_000),
)
_SEGMENTS, _COMPONENTS, _ZONES, _AIRSPACES = 100_000, 200_000, 1_000, 200


class _Maker:
    """Makes layers in a plane and brings them to degrees."""

    def __init__(self, rng: np.random.Generator, scale: float, side_m: float) -> None:
        self._rng = rng
        self._frame = MetricFrame(_EPSG)
        self._side_m = side_m
        self._scale = scale
        self.layers: dict[str, Layer] = {}

    def count(self, full: int) -> int:
        """How many in this size."""
        return max(round(full * self._scale), 1)

    def add(self, role: LayerRole, shapes: Shapes, **columns: Any) -> None:
        """One layer; shapes in metres from the corner of the map."""
        moved = shapely.transform(shapes, lambda points: points + _ORIGIN)
        placed = self._frame.geometry_to_lonlat(moved)
        self.layers[role.value] = build_layer(role.value, role, placed, **columns)

    def add_areas(self) -> None:
        """Areas of four levels; the code of each begins with that of one of the level above."""
        above: list[str] = ["37"]
        for role, digits, full in _LEVELS:
            shapes = zones(self.count(full), self._rng)
            stretch = self._side_m / SIDE_M
            shapes = shapely.transform(shapes, lambda points, by=stretch: points * by)
            width = digits - len(above[0])
            above = [
                f"{above[number % len(above)]}{number // len(above):0{width}d}"
                for number in range(len(shapes))
            ]
            self.add(role, shapes, code=above, name=[f"{role.value} {code}" for code in above])

    def add_the_rest(self) -> None:
        """Roads, components with their units, zones, and airspace."""
        rng, side_m = self._rng, self._side_m
        lines = roads(self.count(_SEGMENTS), rng, side_m)
        self.add(LayerRole.ROAD, lines, name=[f"road {number}" for number in range(len(lines))])
        spots = rng.uniform(0, side_m, (self.count(_COMPONENTS), 2))
        self.add(
            LayerRole.COMPONENT,
            np.asarray(shapely.points(spots), dtype=object),
            kind=["manhole"] * len(spots),
            unit=[f"unit-{number % 50}" for number in range(len(spots))],
        )
        middles = shapely.points(rng.uniform(0, side_m, (self.count(_ZONES), 2)))
        shapes = np.asarray(shapely.buffer(middles, rng.uniform(20, 200, len(middles))))
        self.add(LayerRole.ZONE, shapes, kind=["site"] * len(shapes))
        shapes, floors, ceilings = volumes(self.count(_AIRSPACES), rng)
        shapes = shapely.transform(shapes, lambda points: points * (side_m / SIDE_M))
        self.add(
            LayerRole.AIRSPACE,
            shapes,
            kind=["protected"] * len(shapes),
            floor_m=floors,
            ceiling_m=ceilings,
            datum=["agl"] * len(shapes),
        )


def made_city(rng: np.random.Generator, scale: float) -> tuple[City, Floats, Floats]:
    """A city, and as many batches of places in it as are asked, in degrees."""
    side_m = SIDE_M * 0.6 * scale**0.5
    maker = _Maker(rng, scale, side_m)
    maker.add_areas()
    maker.add_the_rest()
    city = City("bench", Text("bench", "bench"), _EPSG, layers=maker.layers)
    places = rng.uniform(0, side_m, (_CALLS * MAX_BATCH, 2)) + _ORIGIN
    lon, lat = city.frame.to_lonlat(*places.T)
    return city, np.asarray(lon), np.asarray(lat)


def bench_city(rounds: int, scale: float, rng: np.random.Generator) -> tuple[list[Figure], int]:
    """The full tag of batches of a stream, each of fresh places."""
    city, lon, lat = made_city(rng, scale)
    height = rng.uniform(0.0, 400.0, len(lon))
    with tempfile.TemporaryDirectory(prefix="bench-geo-") as folder:
        starts_s = []
        for _ in range(2):
            began = time.perf_counter()
            tagger = Tagger(city, TableCache(Path(folder)))
            starts_s.append(time.perf_counter() - began)
    components = Components(city)
    batches = [slice(start, start + MAX_BATCH) for start in range(0, len(lon), MAX_BATCH)]
    tagged: list[tuple[Tags, list[NearComponent | None]]] = []

    def ours() -> None:
        tagged.clear()
        for part in batches:
            tags = tagger.tag(lon[part], lat[part], {AltitudeDatum.AGL: height[part]})
            tagged.append((tags, components.near(lon[part], lat[part])))

    (seconds,) = median_seconds(rounds, ours)
    parts = ", ".join(f"{len(layer):,} {name}" for name, layer in city.layers.items())
    figures = [
        at_most(f"full tag of a batch of {MAX_BATCH}", seconds / _CALLS * 1e3, "ms", _GOAL_MS),
        Figure(f"  {parts}", seconds / len(lon) * 1e6, "us each"),
        Figure("  first start, indexes built and kept", starts_s[0], "s"),
        Figure("  next start, indexes loaded", starts_s[1], "s"),
    ]
    return figures, _wrong(city, tagged[0], lon[:MAX_BATCH], lat[:MAX_BATCH], height[:MAX_BATCH])


def _wrong(
    city: City,
    tagged: tuple[Tags, list[NearComponent | None]],
    lon: Floats,
    lat: Floats,
    height: Floats,
) -> int:
    """Answers of one batch that differ from shapely's."""
    tags, near = tagged
    spots = shapely.points(lon, lat)
    wrong = 0
    inside = {}
    for role in (LayerRole.GRID, LayerRole.ZONE, LayerRole.AIRSPACE):
        layer = city.layers[role.value]
        rows, features = shapely.STRtree(layer.geometries).query(spots, predicate="intersects")
        inside[role] = (rows, np.array(features))
    codes = city.layers[LayerRole.GRID.value].column("code")
    grids = [""] * len(lon)
    for row, feature in zip(*inside[LayerRole.GRID], strict=True):
        grids[row] = codes[feature]
    air = city.layers[LayerRole.AIRSPACE.value]
    low, high = (np.array(air.column(name), dtype=float) for name in ("floor_m", "ceiling_m"))
    low = np.where(low <= 0.0, -np.inf, low)
    flat = city.frame.to_metric(lon, lat)
    metric = shapely.points(*flat)
    lines = city.frame.geometry_to_metric(city.layers[LayerRole.ROAD.value].geometries)
    shapes = city.frame.geometry_to_metric(city.layers[LayerRole.COMPONENT.value].geometries)
    units = city.layers[LayerRole.COMPONENT.value].column("unit")
    road = _nearest(lines, metric, 50.0)
    component = _nearest(shapes, metric, 30.0)
    zone_rows = np.bincount(inside[LayerRole.ZONE][0], minlength=len(lon))
    rows, features = inside[LayerRole.AIRSPACE]
    level = (height[rows] >= low[features]) & (height[rows] <= high[features])
    air_rows = np.bincount(rows[level], minlength=len(lon))
    for row in range(len(lon)):
        place = tags.place(row)
        found = near[row]
        wrong += (place.grid_code or "") != grids[row]
        wrong += len(place.zones) != zone_rows[row]
        wrong += len(place.airspaces) != air_rows[row]
        wrong += place.road_distance_m != road.get(row, (0, None))[1]
        mine = None if found is None else (found.unit, found.distance_m)
        number, metres = component.get(row, (-1, None))
        wrong += mine != (None if metres is None else (units[number], metres))
    return int(wrong)


def _nearest(shapes: Shapes, points: Shapes, reach_m: float) -> dict[int, tuple[int, float]]:
    """Of each point the nearest shape within reach and its distance, the first of a tie."""
    (rows, found), away = shapely.STRtree(shapes).query_nearest(
        points, max_distance=reach_m, return_distance=True
    )
    order = np.lexsort((found, rows))[::-1]
    columns = rows[order].tolist(), found[order].tolist(), away[order].tolist()
    return {row: (number, metres) for row, number, metres in zip(*columns, strict=True)}
