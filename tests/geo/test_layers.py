from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

from core.city import LayerRole
from core.errors import LayerError
from geo.crs import wgs84_to_gcj02
from geo.distance import distance_m
from geo.layers import Layer, build_layer, read_layer

SQUARE = shapely.box(120.38, 36.06, 120.39, 36.07)
BOW_TIE = shapely.Polygon([(120, 36), (120.1, 36.1), (120.1, 36), (120, 36.1)])


def a_feature(geometry: Any = SQUARE, **properties: Any) -> dict[str, Any]:
    shape = None if geometry is None else json.loads(shapely.to_geojson(geometry))
    return {"type": "Feature", "properties": properties, "geometry": shape}


def a_file(folder: Path, *features: dict[str, Any], **members: Any) -> Path:
    path = folder / "layer.geojson"
    collection = {"type": "FeatureCollection", "features": list(features), **members}
    path.write_text(json.dumps(collection), encoding="utf-8")
    return path


def read(path: Path, role: LayerRole = LayerRole.ZONE, **options: Any) -> Layer:
    return read_layer(path, id="l", role=role, **options)


CRS84 = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "fgb"])
def test_files_that_say_their_crs_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"layer.{suffix}"
    frame = gpd.GeoDataFrame({"name": ["甲"], "code": ["x"]}, geometry=[SQUARE], crs=4326)
    frame.to_crs(4549).to_file(path)
    layer = read(path)
    assert (layer.crs, layer.column("name"), layer.column("feature_id")) == (
        "EPSG:4549",
        ["甲"],
        ["x"],
    )
    corner = shapely.get_coordinates(layer.geometries[0])[0]
    nearest = min(distance_m(*corner, x, y) for x, y in SQUARE.exterior.coords)
    assert nearest < 0.01


def test_a_shapefile_without_prj_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "layer.shp"
    gpd.GeoDataFrame({"name": ["a"]}, geometry=[SQUARE], crs=4326).to_file(path)
    (tmp_path / "layer.prj").unlink()
    with pytest.raises(LayerError, match="no CRS is declared"):
        read(path)
    assert len(read(path, crs="EPSG:4326")) == 1


def test_geojson_that_says_nothing_is_refused(tmp_path: Path) -> None:
    path = a_file(tmp_path, a_feature())
    with pytest.raises(LayerError, match=r"layer l \(.*layer.geojson\): no CRS is declared"):
        read(path)
    assert len(read(path, crs=4326)) == 1


def test_geojson_with_a_crs_member_needs_no_other(tmp_path: Path) -> None:
    path = a_file(tmp_path, a_feature(), crs=CRS84)
    assert read(path).crs == "EPSG:4326"
    assert read(path, crs="EPSG:4326").crs == "EPSG:4326"


def test_a_file_and_a_profile_that_disagree_are_refused(tmp_path: Path) -> None:
    path = a_file(tmp_path, a_feature(), crs=CRS84)
    with pytest.raises(LayerError, match="profile says EPSG:4549, the file says EPSG:4326"):
        read(path, crs=4549)


def test_a_shifted_datum_overrules_what_the_file_says(tmp_path: Path) -> None:
    shifted = shapely.transform(
        SQUARE, lambda xy: shapely.get_coordinates(shapely.points(*wgs84_to_gcj02(*xy.T)))
    )
    layer = read(a_file(tmp_path, a_feature(shifted), crs=CRS84), crs="GCJ-02")
    assert layer.crs == "GCJ-02"
    assert layer.geometries[0].equals_exact(SQUARE, 1e-8)


def test_metres_declared_as_degrees_are_refused(tmp_path: Path) -> None:
    path = a_file(tmp_path, a_feature(shapely.box(534_650, 3_992_424, 534_700, 3_992_500)))
    with pytest.raises(LayerError, match="not on Earth; is the declared CRS the true one"):
        read(path, crs="EPSG:4326")


def test_an_array_of_features_is_read(tmp_path: Path) -> None:
    path = tmp_path / "array.json"
    path.write_text(json.dumps([a_feature(name="a"), a_feature(name="b")]), encoding="utf-8")
    assert read(path, crs=4326).column("name") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a map layer"),
        ("{", "cannot be read as a map layer"),
        ("3", "GeoJSON, or an array of its features, was wanted, got other JSON"),
        ('{"a": 1}', "GeoJSON, or an array of its features, was wanted, got other JSON"),
        ('{"type": "Sculpture"}', "was wanted, got JSON of type 'Sculpture'"),
    ],
)
def test_what_is_no_geojson_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LayerError, match=message):
        read(path, crs=4326)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match=r"nowhere\.gpkg\): there is no such file"):
        read(tmp_path / "nowhere.gpkg")


def test_broken_shapes_are_repaired_and_missing_ones_dropped_and_counted(tmp_path: Path) -> None:
    layer = read(
        a_file(tmp_path, a_feature(BOW_TIE), a_feature(), a_feature(None), a_feature(BOW_TIE)),
        crs=4326,
    )
    assert (len(layer), layer.repaired_count, layer.dropped_count) == (3, 2, 1)
    assert layer.frame.is_valid.all()


def test_areas_are_wanted_where_the_role_is_an_area(tmp_path: Path) -> None:
    path = a_file(tmp_path, a_feature(), a_feature(shapely.Point(120, 36)))
    with pytest.raises(LayerError, match="areas were wanted, feature 2 is a Point"):
        read(path, crs=4326)
    assert len(read(path, LayerRole.CUSTOM, crs=4326)) == 2


def test_fields_constants_and_stale_codes(tmp_path: Path) -> None:
    path = a_file(
        tmp_path,
        a_feature(division=370282, label="即墨区", kind=None),
        a_feature(division=None, label="无", kind="own"),
    )
    layer = read(
        path,
        crs=4326,
        fields={"code": "division", "name": "label"},
        constants={"kind": "site"},
        replace_codes={"370282": "370215"},
    )
    assert layer.column("code") == ["370215", ""]
    assert layer.column("name") == ["即墨区", "无"]
    assert layer.column("kind") == ["site", "own"]
    assert layer.column("feature_id") == ["l-1", "l-2"]
    with pytest.raises(LayerError, match=r"column 'typo' was wanted, the file has division, label"):
        read(path, crs=4326, fields={"name": "typo"})


def test_ids_must_be_unique(tmp_path: Path) -> None:
    path = a_file(tmp_path, a_feature(key="a"), a_feature(key="a"))
    with pytest.raises(LayerError, match="'a' comes twice"):
        read(path, crs=4326, fields={"id": "key"})


def test_an_airspace_names_floor_ceiling_and_datum(tmp_path: Path) -> None:
    path = a_file(tmp_path, a_feature(upper=120.5), a_feature(upper=300))
    with pytest.raises(LayerError, match="needs floor_m, ceiling_m and datum"):
        read(path, LayerRole.AIRSPACE, crs=4326)
    layer = read(
        path,
        LayerRole.AIRSPACE,
        crs=4326,
        fields={"ceiling_m": "upper"},
        constants={"floor_m": 0, "datum": "agl", "kind": "protected"},
    )
    assert layer.column("ceiling_m") == [120.5, 300.0]
    assert layer.column("floor_m") == [0.0, 0.0]
    for wrong, message in (
        ({"floor_m": 0, "datum": "sea"}, "datum must be one of wgs84, msl, takeoff, agl"),
        ({"floor_m": 200, "datum": "agl"}, "floor_m <= ceiling_m was wanted"),
        ({"floor_m": "low", "datum": "agl"}, "metres were wanted"),
    ):
        with pytest.raises(LayerError, match=message):
            read(path, LayerRole.AIRSPACE, crs=4326, fields={"ceiling_m": "upper"}, constants=wrong)


def test_the_version_is_that_of_the_content(tmp_path: Path) -> None:
    one = read(a_file(tmp_path, a_feature(name="a")), crs=4326)
    again = read(a_file(tmp_path, a_feature(name="a")), crs=4326)
    renamed = read(a_file(tmp_path, a_feature(name="b")), crs=4326)
    moved = read(a_file(tmp_path, a_feature(shapely.box(1, 2, 3, 4), name="a")), crs=4326)
    assert one.version == again.version
    assert len({one.version, renamed.version, moved.version}) == 3


def test_geojson_out_is_made_once_and_reads_back(tmp_path: Path) -> None:
    layer = build_layer(
        "a",
        LayerRole.AIRSPACE,
        [SQUARE],
        name=['青"鸟'],
        floor_m=[0.0],
        ceiling_m=[float("inf")],
        datum=["agl"],
    )
    assert layer.features is layer.features
    feature = json.loads(layer.geojson())["features"][0]
    assert feature["id"] == "a-1"
    assert feature["properties"] == {
        "feature_id": "a-1",
        "code": "",
        "name": '青"鸟',
        "kind": "",
        "generated": False,
        "floor_m": 0.0,
        "ceiling_m": None,
        "datum": "agl",
        "ceiling_datum": "agl",
        "active": "",
    }
    assert shapely.from_geojson(json.dumps(feature["geometry"])).equals(SQUARE)


def test_a_layer_may_be_empty(tmp_path: Path) -> None:
    layer = build_layer("e", LayerRole.ZONE, [])
    assert len(layer) == 0
    assert json.loads(layer.geojson())["features"] == []
    assert len(read(a_file(tmp_path, a_feature(None)), crs=4326)) == 0
