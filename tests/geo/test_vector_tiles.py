"""Vector tiles, read back by GDAL, which shares no code with what writes them."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from core.city import LayerRole
from core.errors import GeometryError
from geo.city import load_city
from geo.crs import convert_points
from geo.layers import Layer, build_layer
from geo.vector_tiles import EXTENT, encode_tile, tile_bounds_m


def read_back(tile: bytes, folder: Path, z: int, x: int, y: int) -> gpd.GeoDataFrame:
    """A tile as GDAL reads it, in WGS 84."""
    # GDAL places a tile by its path.
    path = folder / str(z) / str(x) / f"{y}.pbf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tile)
    frame = gpd.read_file(f"MVT:{path}")
    return frame.set_crs(3857, allow_override=True).to_crs(4326)


def tile_of(lon: float, lat: float, z: int) -> tuple[int, int, int]:
    east, north = convert_points([lon], [lat], "EPSG:4326", "EPSG:3857")
    west, _, _, top = tile_bounds_m(z, 0, 0)
    side = tile_bounds_m(z, 0, 0)[2] - west
    return z, int((east[0] - west) / side), int((top - north[0]) / side)


def test_all_layers_of_a_city_are_what_they_were(tmp_path: Path) -> None:
    city = load_city("generated", seed=7)
    west, south, east, north = city.bounds
    z, x, y = tile_of((west + east) / 2, (south + north) / 2, 15)
    bounds = convert_points(
        [tile_bounds_m(z, x, y)[0], tile_bounds_m(z, x, y)[2]],
        [tile_bounds_m(z, x, y)[1], tile_bounds_m(z, x, y)[3]],
        "EPSG:3857",
        "EPSG:4326",
    )
    box = shapely.box(bounds[0][0], bounds[1][0], bounds[0][1], bounds[1][1])
    unit_deg = (bounds[0][1] - bounds[0][0]) / EXTENT
    met = 0
    for layer in city.layers.values():
        tile = encode_tile(layer, z, x, y)
        inside = shapely.intersects(layer.geometries, box)
        if not tile:
            assert not inside.any(), layer.id
            continue
        found = read_back(tile, tmp_path / layer.id, z, x, y)
        ids = layer.column("feature_id")
        assert {ids[row] for row in np.flatnonzero(inside)} <= set(found["feature_id"]), layer.id
        kinds = found.get("kind", [None] * len(found))
        for name, kind, shape in zip(found["feature_id"], kinds, found.geometry, strict=True):
            row = ids.index(name)
            assert (kind or "") == layer.column("kind")[row]
            whole = layer.geometries[row]
            assert shapely.distance(whole, shape) <= 2 * unit_deg
            part = shapely.intersection(whole, box)
            apart = shapely.hausdorff_distance(
                shapely.intersection(shapely.make_valid(shape), box.buffer(unit_deg)), part
            )
            assert np.isnan(apart) or apart <= 4 * unit_deg, (layer.id, name)
            met += 1
    assert met > 100


@settings(deadline=None, max_examples=40)
@given(
    corners=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 12), st.integers(1, 12)),
        min_size=1,
        max_size=6,
    ),
    z=st.integers(11, 16),
)
def test_areas_keep_their_area(tmp_path_factory, corners, z: int) -> None:  # type: ignore[no-untyped-def]
    boxes = [
        shapely.box(
            120.38 + x / 2000, 36.06 + y / 2000, 120.38 + (x + w) / 2000, 36.06 + (y + h) / 2000
        )
        for x, y, w, h in corners
    ]
    ring = shapely.difference(shapely.union_all(boxes), boxes[0].centroid.buffer(1e-4))
    layer = build_layer("a", LayerRole.ZONE, [ring])
    tile = tile_of(*ring.point_on_surface().coords[0], z)
    bounds = tile_bounds_m(*tile)
    metric = gpd.GeoSeries([ring], crs=4326).to_crs(3857)
    unit = (bounds[2] - bounds[0]) / EXTENT
    wanted = metric.intersection(shapely.box(*bounds))[0]
    found = read_back(encode_tile(layer, *tile), tmp_path_factory.mktemp("t"), *tile).to_crs(3857)
    assert shapely.is_valid(found.geometry.values).all()
    got = found.intersection(shapely.box(*bounds)).union_all()
    assert got.symmetric_difference(wanted).area <= 2.0 * unit * (wanted.length + 8 * unit)


def test_a_tile_without_the_layer_is_empty() -> None:
    layer = build_layer("a", LayerRole.ZONE, [shapely.box(120, 36, 120.01, 36.01)])
    assert encode_tile(layer, 10, 0, 0) == b""
    assert encode_tile(layer, 0, 0, 0) == b""  # smaller than a unit


def test_lines_and_points_are_drawn_too(tmp_path: Path) -> None:
    shapes = [
        shapely.LineString([(120.0, 36.0), (120.3, 36.2), (120.5, 36.0)]),
        shapely.MultiPoint([(120.1, 36.1), (120.2, 36.1)]),
        shapely.MultiLineString([[(120.0, 36.1), (120.1, 36.2)], [(120.2, 36.0), (120.3, 36.1)]]),
    ]
    layer = build_layer("a", LayerRole.CUSTOM, shapes, name=["线", "点", ""])
    tile = tile_of(120.2, 36.1, 8)
    found = read_back(encode_tile(layer, *tile), tmp_path, *tile)
    assert found["name"].tolist()[:2] == ["线", "点"]
    for shape, back in zip(shapes, found.geometry, strict=True):
        assert shapely.hausdorff_distance(shape, back) < 3e-4


@pytest.mark.parametrize("tile", [(-1, 0, 0), (23, 0, 0), (3, 8, 0), (3, 0, -1)])
def test_there_is_no_such_tile(tile: tuple[int, int, int]) -> None:
    layer: Layer = build_layer("a", LayerRole.ZONE, [shapely.box(0, 0, 1, 1)])
    with pytest.raises(GeometryError, match="were wanted"):
        encode_tile(layer, *tile)
