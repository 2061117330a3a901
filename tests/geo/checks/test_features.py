"""Single features that are wrong are told by their rows in the source, and spoil no verdict."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import CRS

from commands.layer_report import report_document
from core.city import LayerRole
from core.errors import LayerError
from geo.checks.findings import Finding, Level
from geo.checks.report import LayerReport, Verdict, check_layer, guess_role
from geo.city import City
from geo.crs import MetricFrame, crs_title, geometries_to_wgs84, wgs84_to_gcj02
from geo.layers import decide_crs, read_layer
from geo.sources.reader import read_source
from geo.sources.table import SourceTable, guess_fields

FRAME = MetricFrame(4549)
BOX = shapely.box(120.0, 36.0, 120.01, 36.01)
NEXT = shapely.box(120.01, 36.0, 120.02, 36.01)
OVER = shapely.box(120.005, 36.0, 120.015, 36.01)
NOWHERE = shapely.box(4.0e7, 3.9e6, 4.1e7, 4.0e6)
#: A city's own plane: its meridian has no EPSG number.
OWN_PLANE = (
    "+proj=tmerc +lat_0=0 +lon_0=120.333333 +k=1 +x_0=150000 +y_0=-3800000 +ellps=GRS80 +units=m"
)


def a_source(shapes: list[shapely.Geometry | None], **columns: list[str]) -> SourceTable:
    table = pd.DataFrame(columns, index=range(len(shapes)))
    return SourceTable("some.gpkg", table, np.array(shapes, dtype=object))


def check(source: SourceTable, role: LayerRole) -> LayerReport:
    return check_layer(source, id="x", role=role, frame=FRAME, crs=4326)


def check_beside(
    qingdao: City, source: SourceTable, shapes: np.ndarray, crs: str, **more: object
) -> LayerReport:
    """The check of a source with other shapes, against what is known of the real city."""
    role = more.pop("role", LayerRole.DISTRICT)
    return check_layer(
        SourceTable("changed", source.columns, np.asarray(shapes, dtype=object)),
        id="changed",
        role=role,  # type: ignore[arg-type]
        frame=qingdao.frame,
        known=list(qingdao.layers.values()),
        crs=crs,
        **more,  # type: ignore[arg-type]
    )


def finding(report: LayerReport, code: str) -> Finding:
    return next(one for one in report.findings if one.code == code)


@pytest.mark.realdata
def test_one_feature_off_the_earth_is_named_and_the_others_are_judged(
    realdata: Path, qingdao: City
):
    real = read_source(realdata / "qingdao" / "osm_wgs84" / "qingdao_districts.geojson")
    shapes = real.shapes.copy()
    shapes[3] = NOWHERE
    report = check_beside(qingdao, real, shapes, "EPSG:4326")
    assert report.verdict is Verdict.REFUSED
    stray = finding(report, "off_earth")
    assert stray.features == (3,)
    assert "row 4" in stray.text.en
    assert "wrong_place" not in {one.code for one in report.findings}
    assert report.placement is not None
    assert report.placement.declared is not None
    assert report.placement.declared.misfit.median_m < 50.0


def test_rows_are_those_of_the_source_where_features_lack_a_geometry():
    source = a_source([None, BOX, OVER, None, NEXT], code=["", "370202", "37", "", "370203"])
    report = check(source, LayerRole.DISTRICT)
    assert report.count == 5
    assert finding(report, "no_geometry").features == (0, 3)
    assert finding(report, "bad_code").features == (2,)
    assert finding(report, "overlaps").features == (1, 2, 4)
    document = report_document(report)
    assert document["count"] == 5
    assert sorted(flaw["rows"] for flaw in document["flaws"]) == [[2, 3], [3, 5]]


def test_areas_lines_and_collections_in_one_layer_are_told_and_the_areas_kept():
    line = shapely.LineString([(120.0, 36.0), (120.01, 36.01)])
    both = shapely.GeometryCollection([NEXT, line])
    report = check(a_source([BOX, both, line]), LayerRole.CUSTOM)
    mixed = finding(report, "mixed_kinds")
    assert (mixed.level, mixed.features) == (Level.WARNING, (1, 2))
    assert "2 areas" in mixed.text.en
    assert report.layer is not None
    assert report.layer.geometries[1].geom_type == "Polygon"
    same = check(a_source([BOX, shapely.MultiPolygon([NEXT])]), LayerRole.CUSTOM)
    assert "mixed_kinds" not in {one.code for one in same.findings}


def test_codes_filled_with_zeros_for_statistics_are_those_of_their_level():
    source = a_source([BOX, NEXT], 统计用区划代码=["370202000000", "370203000000"])
    assert guess_role(source) is LayerRole.DISTRICT
    report = check(source, LayerRole.DISTRICT)
    assert report.layer is not None
    assert list(report.layer.column("code")) == ["370202", "370203"]
    assert not {"bad_code", "no_code"} & {one.code for one in report.findings}


def test_names_that_a_shapefile_cut_are_found(tmp_path: Path):
    """`division_code` and its like lose what is beyond ten bytes."""
    frame = gpd.GeoDataFrame({"division_c": ["370202", "370203"]}, geometry=[BOX, NEXT], crs=4326)
    frame.to_file(tmp_path / "cut.shp")
    source = read_source(tmp_path / "cut.shp")
    assert guess_fields(source, {}) == {"code": "division_c"}
    assert guess_role(source) is LayerRole.DISTRICT


def test_a_plane_of_the_citys_own_is_read_by_its_description(tmp_path: Path):
    plane = CRS.from_user_input(OWN_PLANE)
    own = decide_crs(None, plane, "own.gpkg")
    there = geometries_to_wgs84(np.array([shapely.Point(150_000.0, 188_000.0)], dtype=object), own)
    assert shapely.get_coordinates(there)[0] == pytest.approx((120.333333, 36.0), abs=0.2)
    assert "PROJCRS" not in crs_title(own)
    path = tmp_path / "own.gpkg"
    gpd.GeoDataFrame({"code": ["370202"]}, geometry=[BOX], crs=4326).to_crs(plane).to_file(path)
    layer = read_layer(path, id="own", role=LayerRole.DISTRICT)
    assert shapely.get_coordinates(layer.geometries[0]) == pytest.approx(
        shapely.get_coordinates(BOX), abs=1e-7
    )


def test_a_drawing_without_a_place_is_refused():
    drawing = CRS.from_wkt('LOCAL_CS["drawing",UNIT["metre",1]]')
    with pytest.raises(LayerError, match="says nothing of a place on Earth"):
        decide_crs(None, drawing, "plan.dxf")


@pytest.mark.realdata
def test_degrees_that_were_shifted_before_they_were_projected_are_advised_as_that(
    realdata: Path, qingdao: City
):
    real = read_source(realdata / "qingdao" / "osm_wgs84" / "qingdao_districts.geojson")
    shifted = shapely.transform(
        real.shapes, lambda xy: np.column_stack(wgs84_to_gcj02(xy[:, 0], xy[:, 1]))
    )
    tiles = gpd.GeoSeries(shifted, crs=4326).to_crs(3857)
    report = check_beside(qingdao, real, tiles, "EPSG:3857")
    assert report.verdict is Verdict.REFUSED
    advice = finding(report, "wrong_place").text.en
    assert "back to degrees, which were shifted before they were projected" in advice
    assert "`crs: GCJ-02`" in advice


@pytest.mark.realdata
def test_airspace_shifted_by_degrees_says_how_far(realdata: Path, qingdao: City):
    """Over a nation a shift of degrees is not one of metres."""
    real = read_source(realdata / "drone" / "airspace_cn" / "airport_jkq.json")
    moved = shapely.transform(real.shapes, lambda xy: np.add(xy, (0.35, 0.2)))
    constants = {"floor_m": 0, "ceiling_m": 600, "datum": "agl", "kind": "protected"}
    report = check_beside(
        qingdao, real, moved, "GCJ-02", role=LayerRole.AIRSPACE, constants=constants
    )
    assert report.verdict is Verdict.REFUSED
    assert "km" in finding(report, "shifted").text.en
