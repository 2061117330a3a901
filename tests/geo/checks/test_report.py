"""Every real layer gets the verdict it deserves, and every known fault its finding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from core.city import LayerRole
from geo.checks.findings import Finding, Level
from geo.checks.report import LayerReport, Verdict, check_layer, guess_role
from geo.city import City
from geo.crs import MetricFrame
from geo.layers import build_layer
from geo.sources.reader import read_source
from geo.sources.table import SourceTable

FRAME = MetricFrame(4549)


def finding(report: LayerReport, code: str) -> Finding:
    return next(one for one in report.findings if one.code == code)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "role", "crs", "verdict", "codes", "words"),
    [
        ("osm_wgs84/qingdao_districts.geojson", "district", "EPSG:4326", "accepted", (), ""),
        (
            "osm_wgs84/qingdao_streets_towns.geojson",
            "street",
            "EPSG:4326",
            "warnings",
            ("gaps",),
            "",
        ),
        ("osm_wgs84/qingdao_city.geojson", "custom", "EPSG:4326", "accepted", ("same_data",), ""),
        ("osm_wgs84/qingdao_districts.geojson", "district", None, "refused", ("no_crs",), "4326"),
        ("osm_wgs84/qingdao_districts.geojson", "district", "GCJ-02", "refused", (), "EPSG:4326"),
        ("amap_gcj02/370200.json", "district", None, "refused", ("no_crs", "likely_crs"), "GCJ-02"),
        ("amap_gcj02/370200.json", "district", "EPSG:4326", "refused", ("wrong_place",), "GCJ-02"),
        ("amap_gcj02/370200.json", "district", "BD-09", "refused", ("wrong_place",), "GCJ-02"),
        ("amap_gcj02/370200.json", "district", "GCJ-02", "warnings", ("mixed_datum",), ""),
        ("amap_gcj02/370200_full.2021.json", "district", "EPSG:4326", "refused", (), "GCJ-02"),
        ("amap_gcj02/370200_full.2021.json", "district", "GCJ-02", "warnings", (), ""),
        ("amap_gcj02/370202.json", "district", "EPSG:4326", "refused", (), "GCJ-02"),
        ("amap_gcj02/370202.json", "district", "GCJ-02", "accepted", ("placed",), ""),
        ("amap_gcj02/370203.json", "district", "EPSG:4326", "refused", (), "GCJ-02"),
        ("amap_gcj02/370203.json", "district", "GCJ-02", "accepted", ("placed",), ""),
        ("amap_gcj02/370213.json", "district", "EPSG:4326", "refused", (), "GCJ-02"),
        ("amap_gcj02/370213.json", "district", "GCJ-02", "accepted", ("placed",), ""),
    ],
)
def test_real_layers(
    realdata: Path,
    qingdao: City,
    name: str,
    role: str,
    crs: str | None,
    verdict: str,
    codes: tuple[str, ...],
    words: str,
) -> None:
    source = read_source(realdata / "qingdao" / name)
    report = check_layer(
        source,
        id="test",
        role=LayerRole(role),
        frame=qingdao.frame,
        known=list(qingdao.layers.values()),
        crs=crs,
        replace_codes={"370282": "370215"},
    )
    assert report.verdict is Verdict[verdict.upper()], [one.text.en for one in report.findings]
    assert set(codes) <= {one.code for one in report.findings}
    errors = [one.text.en for one in report.findings if one.level is Level.ERROR]
    if words:
        assert words in errors[-1]
    assert (report.layer is None) == (verdict == "refused")


@pytest.mark.realdata
def test_a_real_layer_shifted_by_kilometres_says_how_far(realdata: Path, qingdao: City) -> None:
    source = read_source(realdata / "qingdao" / "osm_wgs84" / "qingdao_districts.geojson")
    metric = qingdao.frame.geometry_to_metric(source.shapes)
    away = shapely.transform(metric, lambda xy: np.add(xy, (2_400.0, -1_800.0)))
    shapes = np.asarray(qingdao.frame.geometry_to_lonlat(away), dtype=object)
    report = check_layer(
        SourceTable("moved", source.columns, shapes),
        id="moved",
        role=LayerRole.DISTRICT,
        frame=qingdao.frame,
        known=list(qingdao.layers.values()),
        crs="EPSG:4326",
    )
    text = finding(report, "shifted").text.en
    assert "shifted by 3,000 m" in text
    assert "moved -2,400 m east and +1,800 m north (azimuth 307°)" in text


def a_source(shapes: list[shapely.Geometry], **columns: list[str]) -> SourceTable:
    table = pd.DataFrame(columns, index=range(len(shapes)))
    return SourceTable("some.gpkg", table, np.array(shapes, dtype=object))


def check(source: SourceTable, role: LayerRole, **more: object) -> LayerReport:
    return check_layer(source, id="x", role=role, frame=FRAME, crs=4326, **more)  # type: ignore[arg-type]


BOX = shapely.box(120.0, 36.0, 120.01, 36.01)
NEXT = shapely.box(120.01, 36.0, 120.02, 36.01)
BOWTIE = shapely.Polygon([(120, 36), (120.01, 36.01), (120.01, 36), (120, 36.01)])


@pytest.mark.parametrize(
    ("shapes", "codes", "wanted"),
    [
        ([BOX, NEXT], ["370202", "370203"], "partition"),
        ([BOX, BOX], ["370202", "370203"], "duplicates"),
        ([BOX, BOX], ["370202", "370203"], "overlaps"),
        ([BOWTIE, NEXT], ["370202", "370203"], "repaired"),
        ([BOX, NEXT], ["370202", "370202"], "code_twice"),
        ([BOX, NEXT], ["370202", "37"], "bad_code"),
        ([BOX, NEXT], ["370202", ""], "no_code"),
        ([BOX, None], ["370202", "370203"], "no_geometry"),
        ([BOX, NEXT], ["370202", "370203"], "not_compared"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_faults_of_areas(shapes: list[shapely.Geometry], codes: list[str], wanted: str) -> None:
    report = check(a_source(shapes, code=codes), LayerRole.DISTRICT)
    assert report.layer is not None
    assert finding(report, wanted).text.zh


def test_a_source_without_features_is_refused() -> None:
    report = check(a_source([]), LayerRole.CUSTOM)
    assert report.verdict is Verdict.REFUSED
    assert finding(report, "empty").level is Level.ERROR


def test_lines_are_no_areas() -> None:
    line = shapely.LineString([(120, 36), (121, 37)])
    report = check(a_source([line], code=["370202"]), LayerRole.DISTRICT)
    assert "areas were wanted" in finding(report, "unusable").text.en


def test_the_columns_of_an_exporter_give_its_datum_away() -> None:
    source = a_source([BOX], adcode=["370202"], centroid=["[120, 36]"], acroutes=["[]"])
    report = check(source, LayerRole.DISTRICT)
    assert report.verdict is Verdict.REFUSED
    assert "DataV.GeoAtlas, which exports GCJ-02" in finding(report, "exporter").text.en


def test_generated_layers_are_no_evidence(generated_city: City) -> None:
    report = check(
        a_source([BOX], code=["370202"]),
        LayerRole.DISTRICT,
        known=list(generated_city.layers.values()),
    )
    assert report.placement is None


@pytest.mark.parametrize(
    ("shape", "columns", "role"),
    [
        (BOX, {"adcode": ["370202"]}, LayerRole.DISTRICT),
        (BOX, {"code": ["370202001"]}, LayerRole.STREET),
        (BOX, {"名称": ["云南路街道"]}, LayerRole.STREET),
        (BOX, {"name": ["江西路社区"]}, LayerRole.COMMUNITY),
        (BOX, {"name": ["万科小区"]}, LayerRole.CUSTOM),
        (BOX, {"网格编码": ["370202001001012"]}, LayerRole.GRID),
        (BOX, {"building": ["yes"]}, LayerRole.BUILDING),
        (BOX, {"floor_m": ["0"], "ceiling_m": ["1"], "datum": ["msl"]}, LayerRole.AIRSPACE),
        (shapely.LineString([(0, 0), (1, 1)]), {}, LayerRole.ROAD),
        (shapely.Point(0, 0), {}, LayerRole.CUSTOM),
    ],
)
def test_the_role_is_guessed(
    shape: shapely.Geometry, columns: dict[str, list[str]], role: LayerRole
) -> None:
    assert guess_role(a_source([shape], **columns)) is role


def test_a_layer_without_a_crs_far_from_the_city_is_refused_and_no_more() -> None:
    known = build_layer("d", LayerRole.DISTRICT, [BOX], code=["370202"])
    far = a_source([shapely.box(100.0, 30.0, 100.1, 30.1)])
    report = check_layer(far, id="x", role=LayerRole.CUSTOM, frame=FRAME, known=[known])
    assert [one.code for one in report.findings] == ["no_crs"]


def test_findings_are_plain_json(generated_city: City) -> None:
    from commands.layer_report import report_document

    report = check(a_source([BOX, BOX], code=["370202", "370203"]), LayerRole.DISTRICT)
    document = json.loads(json.dumps(report_document(report)))
    assert document["verdict"] == "accepted with warnings"
    assert document["flaws"][0]["rows"] == [1, 2]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("crs", "verdict", "code", "words"),
    [
        (None, "refused", "likely_crs", "GCJ-02"),
        ("EPSG:4326", "refused", "wrong_place", "declare GCJ-02"),
        ("BD-09", "refused", "wrong_place", "declare GCJ-02"),
        ("GCJ-02", "warnings", "odd_features", "lie apart from the rest, by up to 2,"),
    ],
)
def test_surfaces_around_runways_are_compared_with_aerodromes(
    realdata: Path, qingdao: City, crs: str | None, verdict: str, code: str, words: str
) -> None:
    report = check_layer(
        read_source(realdata / "drone" / "airspace_cn" / "airport_jkq.json"),
        id="surfaces",
        role=LayerRole.AIRSPACE,
        frame=qingdao.frame,
        known=list(qingdao.layers.values()),
        crs=crs,
        constants={"floor_m": 0, "ceiling_m": 600, "datum": "agl", "kind": "protected"},
    )
    assert report.verdict is Verdict[verdict.upper()]
    assert words in finding(report, code).text.en


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "near", "verdict", "code"),
    [
        ("drone/openair/CZ-ASP-National-XCSoar.txt", None, "warnings", "not_compared"),
        ("drone/openair/CZ-ASP-National-XCSoar.txt", "qingdao", "refused", "elsewhere"),
        ("drone/openair/MW-ASP-National-XCSoar.txt", None, "warnings", "not_compared"),
        ("drone/ed318/examples/Example_Collection.json", None, "warnings", "not_compared"),
        ("drone/interuss/che/geoawareness/cis_source_sample_ed269.json", None, "warnings", ""),
        ("osm/liechtenstein_roads.geojson", None, "refused", "likely_crs"),
        ("osm/liechtenstein_buildings.geojson", None, "refused", "likely_crs"),
    ],
)
def test_other_real_layers(
    realdata: Path, qingdao: City, name: str, near: str | None, verdict: str, code: str
) -> None:
    source = read_source(realdata / name)
    report = check_layer(
        source,
        id="other",
        role=guess_role(source),
        frame=qingdao.frame,
        known=list(qingdao.layers.values()) if near else (),
    )
    assert report.verdict is Verdict[verdict.upper()]
    assert not code or finding(report, code)


def test_a_nations_layer_is_compared_where_it_meets_the_city() -> None:
    city = build_layer(
        "d", LayerRole.DISTRICT, [shapely.box(120, 36, 120.5, 36.5)], code=["370202"]
    )
    zones = [shapely.box(80 + x, 30, 80.1 + x, 30.1) for x in range(20)]
    zones.append(shapely.box(120.1, 36.1, 120.2, 36.2))
    report = check(a_source(zones), LayerRole.CUSTOM, known=[city])
    assert report.verdict is Verdict.WARNINGS
    assert "0.0 m on average" in finding(report, "roughly_placed").text.en
