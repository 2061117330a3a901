from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from core.city import AltitudeDatum, LayerRole
from core.errors import LayerError
from geo.city import load_city
from geo.profile import parse_profile
from geo.tagging import Tagger

FINLAND = """
name: helsinki
crs: EPSG:3067
layers:
  - id: airspace
    role: airspace
    path: airspace.geojson
    crs: EPSG:4326
    fields: {name: title}
    constants: {kind: protected, floor_m: 0, ceiling_m: 120, datum: agl}
"""


def a_folder(folder: Path, profile: str, **files: Any) -> Path:
    (folder / "city.yaml").write_text(profile, encoding="utf-8")
    for name, features in files.items():
        collection = {"type": "FeatureCollection", "features": features}
        (folder / f"{name}.geojson").write_text(json.dumps(collection), encoding="utf-8")
    return folder


def a_feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    shape = json.loads(shapely.to_geojson(geometry))
    return {"type": "Feature", "properties": properties, "geometry": shape}


def test_a_city_may_be_no_more_than_an_airspace(tmp_path: Path) -> None:
    area = shapely.box(24.9, 60.1, 25.0, 60.2)
    city = load_city(str(a_folder(tmp_path, FINLAND, airspace=[a_feature(area, title="Satama")])))
    assert (city.name, city.crs_epsg, city.title.zh) == ("helsinki", 3067, "helsinki")
    assert city.bounds == pytest.approx((24.9, 60.1, 25.0, 60.2))
    tags = Tagger(city).tag(
        np.array([24.95, 24.95]),
        np.array([60.15, 60.15]),
        {AltitudeDatum.TAKEOFF: np.array([50.0, 130.0])},
    )
    assert tags.in_airspace("protected").tolist() == [True, False]
    assert tags.place(0).unplaced == "no_area_layer"


def test_registers_of_a_profile(tmp_path: Path) -> None:
    profile = """
name: small
title: {zh: 小城, en: Small}
crs: 4549
layers:
  - {id: sensors, role: device, path: sensors.geojson, crs: GCJ-02, fields: {id: sn, kind: kind}}
devices:
  - {thing_id: w-1, kind: water_level, lon_deg: 120.1, lat_deg: 36.1}
cameras:
  - camera_id: c-1
    pose: {lon_deg: 120.1, lat_deg: 36.1, height_agl_m: 7, yaw_deg: 0, pitch_deg: -25,
           hfov_deg: 70, width_px: 640, height_px: 360}
docks:
  - {dock_sn: D1, aircraft_sn: A1, lon_deg: 120.1, lat_deg: 36.1}
units:
  - {unit_id: u-1, name: 中队, department: 城管, area_code: ""}
workers:
  - {worker_id: p-1, name: 王芳, area_code: "370202001001", lon_deg: 120.1, lat_deg: 36.1}
"""
    sensors = [a_feature(shapely.Point(120.1, 36.1), sn="m-1", kind="manhole")]
    city = load_city(str(a_folder(tmp_path, profile, sensors=sensors)))
    assert set(city.devices) == {"w-1", "m-1"}
    assert city.devices["m-1"].kind == "manhole"
    assert city.devices["m-1"].lon_deg == pytest.approx(120.1 - 0.0051, abs=3e-4)
    assert city.cameras["c-1"].pose is not None
    assert city.docks["D1"].aircraft_sn == "A1"
    assert [unit.unit_id for unit in city.units] == ["u-1"]
    assert [worker.name for worker in city.workers] == ["王芳"]
    assert set(city.layers) == {"sensors", "devices", "cameras", "docks"}
    assert not any(city.layers["devices"].column("generated"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"city\.yaml: a city profile was wanted, the file is empty"),
        ("name: [", r"city\.yaml: not readable as YAML"),
        ("- a\n", r"city\.yaml line 1: Expected `object`, got `array`"),
        ("name: x\n", r"city\.yaml line 1: Object missing required field `crs`"),
        ("name: x\ncrs: 4549\ncolour: red\n", r"line 3: unknown key 'colour'; accepted: name, crs"),
        ("name: x\ncrs: 1\nname: y\n", r"line 3: key 'name' comes twice"),
        (
            "name: x\ncrs: 1\nlayers:\n  - id: a\n    role: zone\n    file: z\n",
            r"line 6: unknown key 'file'; accepted: id, role, path, crs",
        ),
        (
            "name: x\ncrs: 1\nlayers:\n  - id: a\n    role: lake\n    path: z\n",
            r"line 5: Invalid enum value 'lake' - at `\$\.layers\[0\]\.role`",
        ),
        (
            "name: x\ncrs: 1\ntitle: {zh: 城, de: Stadt}\n",
            r"line 3: unknown key 'de'; accepted: zh, en",
        ),
        (
            "name: x\ncrs: 1\ncameras:\n  - camera_id: c\n    pose: {tilt: 3}\n",
            r"line 5: unknown key 'tilt'; accepted: lon_deg",
        ),
        ("name: Qing Dao\ncrs: 1\n", r"name: lower case letters, digits, - and _ were wanted"),
        (
            "name: x\ncrs: 1\nlayers:\n" + 2 * "  - {id: a, role: zone, path: z}\n",
            r"layer id 'a' comes twice",
        ),
        (
            "name: x\ncrs: 1\nlayers:\n  - {id: a, role: zone, path: z, fields: {colour: c}}\n",
            r"layer a: fields: unknown 'colour'; accepted: id, code, name",
        ),
    ],
)
def test_each_known_mistake_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        parse_profile(text, "city.yaml")


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        ("GCJ-02", "a shifted datum is declared per layer"),
        ("4326", "a projected CRS in metres was wanted"),
        ("mars", "EPSG:<number>, GCJ-02 or BD-09 was wanted"),
    ],
)
def test_a_city_has_a_metric_crs(tmp_path: Path, crs: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        load_city(str(a_folder(tmp_path, f"name: x\ncrs: {crs}\n")))


def test_a_folder_without_a_profile_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        LayerError, match=r"city\.yaml was wanted, .* profile qingdao wants osm_wgs84/qingdao_dist"
    ):
        load_city(str(tmp_path))


STREETS = """
name: x
crs: 4549
layers:
  - {id: streets, role: street, path: streets.geojson, crs: 4326}
generate: {lon_deg: 120.38, lat_deg: 36.06}
"""


@pytest.mark.parametrize(
    ("shape", "code", "message"),
    [
        (shapely.box(120.3, 36.0, 120.31, 36.01), "370202001", "no layer of role street"),
        (shapely.box(120.37, 36.05, 120.39, 36.07), "", "has no code to build codes on"),
        (shapely.box(120.3799, 36.05, 120.3801, 36.07), "370202001", "generate in a larger street"),
    ],
    ids=["elsewhere", "no-code", "too-narrow"],
)
def test_where_nothing_can_be_generated_it_says_why(
    tmp_path: Path, shape: Any, code: str, message: str
) -> None:
    folder = a_folder(tmp_path, STREETS, streets=[a_feature(shape, code=code, name="街")])
    with pytest.raises(LayerError, match=message):
        load_city(str(folder))


def test_a_layer_may_not_take_the_generators_name(tmp_path: Path) -> None:
    profile = f"{STREETS}devices: [{{thing_id: a, kind: gas, lon_deg: 120.38, lat_deg: 36.06}}]\n"
    street = a_feature(shapely.box(120.37, 36.05, 120.39, 36.07), code="370202001", name="街")
    with pytest.raises(LayerError, match="layer id 'devices' comes twice"):
        load_city(str(a_folder(tmp_path, profile, streets=[street])))


def test_generating_inside_a_street_is_the_same_every_time(tmp_path: Path) -> None:
    street = a_feature(shapely.box(120.37, 36.05, 120.39, 36.07), code="370202001", name="街")
    folder = str(a_folder(tmp_path, STREETS, streets=[street]))
    one, again, other = load_city(folder), load_city(folder), load_city(folder, seed=8)
    versions = [
        {layer.id: layer.version for layer in c.layers.values()} for c in (one, again, other)
    ]
    assert versions[0] == versions[1]
    assert versions[0]["grids"] != versions[2]["grids"]
    assert one.layers_of(LayerRole.STREET)[0].column("name") == ["街"]
