from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from core.city import CameraPose, LayerRole
from geo.camera import FlatGroundProjector
from geo.city import City, generate_city, load_city
from geo.distance import bearing_deg, distance_m
from geo.grid_codes import is_area_code

ROOT = Path(__file__).parents[2]
SEEDS = (7, 1, 2, 2026)

_PRINT_HASH = """
import hashlib
from geo.city import load_city
city = load_city("generated", seed=5)
digest = hashlib.sha256()
for layer in city.layers.values():
    digest.update(layer.id.encode() + layer.version.encode() + layer.geojson())
digest.update(repr((city.devices, city.cameras, city.docks, city.units, city.workers)).encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module", params=SEEDS)
def city(request: pytest.FixtureRequest) -> City:
    return generate_city(request.param)


def zones_of(city: City, kind: str) -> dict[str, Any]:
    (layer,) = city.layers_of(LayerRole.ZONE)
    rows = zip(layer.column("feature_id"), layer.column("kind"), layer.geometries, strict=True)
    return {feature: shape for feature, of_kind, shape in rows if of_kind == kind}


def devices_of(city: City, kind: str) -> list[Any]:
    return [one for one in city.devices.values() if one.kind == kind]


def metric(city: City, geometry: Any) -> Any:
    return city.frame.geometry_to_metric(geometry)


def test_every_hash_seed_gives_the_same_bytes() -> None:
    def run(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", _PRINT_HASH],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert run("1") == run("4242") != hashlib.sha256().hexdigest()


def test_another_seed_gives_another_city(generated_city: City) -> None:
    other = generate_city(8)
    assert other.layers["grids"].version != generated_city.layers["grids"].version
    assert load_city("generated").layers["grids"].version == generated_city.layers["grids"].version


def test_it_is_quick() -> None:
    started = time.perf_counter()
    generate_city(11)
    assert time.perf_counter() - started < 3.0


def test_every_layer_is_valid_generated_and_has_unique_ids(city: City) -> None:
    for layer in city.layers.values():
        assert layer.frame.is_valid.all(), layer.id
        assert all(layer.column("generated")), layer.id
        assert layer.frame["feature_id"].is_unique, layer.id
    roles = {layer.role for layer in city.layers.values()}
    # What a real city brings along, and a generated one has not.
    imported = {LayerRole.SITE, LayerRole.COVERAGE, LayerRole.COMPONENT}
    assert roles == set(LayerRole) - imported


def test_areas_partition_each_other(city: City) -> None:
    """No gap and no overlap: shares of area add up, level by level."""
    areas: dict[LayerRole, Any] = {}
    for role in (LayerRole.GRID, LayerRole.COMMUNITY, LayerRole.STREET, LayerRole.DISTRICT):
        (layer,) = city.layers_of(role)
        shapes = metric(city, layer.geometries)
        areas[role] = dict(zip(layer.column("code"), shapes, strict=True))
        union = shapely.union_all(shapes)
        assert union.geom_type == "Polygon"
        assert len(union.interiors) == 0
        assert sum(shape.area for shape in shapes) == pytest.approx(union.area, abs=1.0)
    assert len(areas[LayerRole.STREET]) == 3
    assert len(areas[LayerRole.COMMUNITY]) == 12
    for finer, coarser, digits in (
        (LayerRole.GRID, LayerRole.COMMUNITY, 12),
        (LayerRole.COMMUNITY, LayerRole.STREET, 9),
        (LayerRole.STREET, LayerRole.DISTRICT, 6),
    ):
        for code, shape in areas[coarser].items():
            children = [s for c, s in areas[finer].items() if c[:digits] == code]
            assert sum(child.area for child in children) == pytest.approx(shape.area, abs=1.0)
            assert shapely.union_all(children).symmetric_difference(shape).area < 1.0


def test_grid_neighbours_share_their_corners_exactly(city: City) -> None:
    assert shapely.coverage_is_valid(city.layers["grids"].geometries)
    assert shapely.coverage_is_valid(city.layers["communities"].geometries)


def test_grids_are_about_ten_thousand_square_metres(city: City) -> None:
    sizes = shapely.area(metric(city, city.layers["grids"].geometries))
    assert sizes.mean() == pytest.approx(10_000.0, rel=0.05)
    assert sizes.min() > 6_000.0
    assert sizes.max() < 14_000.0


def test_codes_are_valid_and_belong_to_shinan(city: City) -> None:
    for role in (LayerRole.DISTRICT, LayerRole.STREET, LayerRole.COMMUNITY, LayerRole.GRID):
        (layer,) = city.layers_of(role)
        codes = layer.column("code")
        assert len(set(codes)) == len(codes)
        assert all(is_area_code(code, role.value) and code[:6] == "370202" for code in codes)


def test_roads_have_names_and_lie_in_the_district(city: City) -> None:
    (roads,) = city.layers_of(LayerRole.ROAD)
    assert len(set(roads.column("name"))) == len(roads) >= 10
    district = metric(city, city.layers["districts"].geometries[0]).buffer(1.0)
    assert shapely.covers(district, metric(city, roads.geometries)).all()


def test_buildings_stand_clear_of_roads_and_of_each_other(city: City) -> None:
    buildings = metric(city, city.layers["buildings"].geometries)
    assert len(buildings) > 500
    pairs = shapely.STRtree(buildings).query(buildings, predicate="intersects")
    assert (pairs[0] == pairs[1]).all()
    roads = shapely.union_all(metric(city, city.layers["roads"].geometries))
    assert shapely.distance(buildings, roads).min() > 12.0


def test_there_are_zones_of_every_kind(city: City) -> None:
    least = {"underpass": 1, "no_parking": 4, "fire_lane": 2, "pavement": 3, "site": 2, "square": 1}
    for kind, count in least.items():
        assert len(zones_of(city, kind)) >= count, kind
    (layer,) = city.layers_of(LayerRole.ZONE)
    shapes = metric(city, layer.geometries)
    pairs = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    assert (pairs[0] == pairs[1]).all(), "zones overlap"


def test_devices_stand_where_their_scenarios_happen(city: City) -> None:
    for kind, least in {
        "water_level": 2,
        "manhole": 8,
        "smoke": 4,
        "gas": 4,
        "site_air": 2,
        "parking": 8,
        "aircraft": 2,
    }.items():
        assert len(devices_of(city, kind)) >= least, kind

    def inside(kind: str, shape: Any) -> list[str]:
        return [
            one.thing_id
            for one in devices_of(city, kind)
            if shape.contains(shapely.Point(one.lon_deg, one.lat_deg))
        ]

    (underpass,) = zones_of(city, "underpass").values()
    assert inside("water_level", underpass) == ["water-0001"]
    for site in zones_of(city, "site").values():
        assert len(inside("site_air", site)) == 1
    in_lanes = [inside("parking", lane) for lane in zones_of(city, "fire_lane").values()]
    assert all(len(sensors) >= 2 for sensors in in_lanes)
    assert len(devices_of(city, "parking")) - sum(map(len, in_lanes)) >= 4
    grids = shapely.union_all(city.layers["grids"].geometries)
    for device in city.devices.values():
        if device.kind != "aircraft":
            assert grids.contains(shapely.Point(device.lon_deg, device.lat_deg)), device.thing_id
    assert {one.thing_id for one in devices_of(city, "aircraft")} == {
        dock.aircraft_sn for dock in city.docks.values()
    }


@pytest.mark.parametrize(
    ("camera_id", "kinds"),
    [("camera-1", ("no_parking", "pavement")), ("camera-2", ("fire_lane", "pavement"))],
)
def test_street_cameras_see_their_zones(city: City, camera_id: str, kinds: tuple[str, ...]) -> None:
    pose = city.cameras[camera_id].pose
    assert pose is not None
    assert 6.0 <= pose.height_agl_m <= 8.0
    assert -30.0 <= pose.pitch_deg <= -20.0
    assert (pose.width_px, pose.height_px, pose.hfov_deg) == (640, 360, 70.0)
    projector = FlatGroundProjector()
    for kind in kinds:
        seen = [
            shape
            for shape in zones_of(city, kind).values()
            if float(distance_m(pose.lon_deg, pose.lat_deg, shape.centroid.x, shape.centroid.y))
            < 40.0
        ]
        assert len(seen) == 1, kind
        corners = shapely.get_coordinates(seen[0])
        away = distance_m(pose.lon_deg, pose.lat_deg, corners[:, 0], corners[:, 1])
        assert away.min() > 10.0
        assert away.max() < 36.0
        pixels, ahead = projector.to_pixels(corners[:, 0], corners[:, 1], pose)
        assert ahead.all()
        assert (pixels >= 20.0).all()
        assert (pixels <= (620.0, 340.0)).all()
        middle = np.array([seen[0].centroid.x]), np.array([seen[0].centroid.y])
        ((u, v),), _ = projector.to_pixels(*middle, pose)
        assert 160.0 < u < 480.0
        assert 60.0 < v < 300.0


def test_street_cameras_look_along_a_road(city: City) -> None:
    roads = metric(city, city.layers["roads"].geometries)
    for camera in city.cameras.values():
        if camera.pose is None:
            continue
        east, north = city.frame.to_metric(camera.pose.lon_deg, camera.pose.lat_deg)
        pole = shapely.Point(float(east), float(north))
        road = roads[int(np.argmin(shapely.distance(roads, pole)))]
        assert road.distance(pole) < 13.0
        at = road.project(pole)
        ahead = [road.interpolate(at - 20.0), road.interpolate(at + 20.0)]
        lon, lat = city.frame.to_lonlat([p.x for p in ahead], [p.y for p in ahead])
        along = float(bearing_deg(lon[0], lat[0], lon[1], lat[1]))
        apart = abs((along - camera.pose.yaw_deg + 90.0) % 180.0 - 90.0)
        assert apart < 8.0


def test_the_flying_camera_sees_a_stretch_and_a_pavement_from_sixty_metres(city: City) -> None:
    dock = next(iter(city.docks.values()))
    assert city.cameras["camera-air-1"].pose is None
    lon, lat = city.survey_spots[dock.dock_sn]
    for yaw in (0.0, 45.0, 90.0):
        pose = CameraPose(
            lon_deg=lon,
            lat_deg=lat,
            height_agl_m=60.0,
            yaw_deg=yaw,
            pitch_deg=-90.0,
            hfov_deg=70.0,
            width_px=640,
            height_px=360,
        )
        footprint = FlatGroundProjector().footprint(pose)
        for kind in ("no_parking", "pavement"):
            assert any(footprint.contains(zone) for zone in zones_of(city, kind).values())


def test_flights_keep_clear_of_the_protected_volume(city: City) -> None:
    (layer,) = city.layers_of(LayerRole.AIRSPACE)
    assert layer.column("kind") == ["protected"]
    assert layer.column("floor_m") == [0.0]
    # An aircraft can lawfully pass above it: below the limit of 120 m.
    assert 60.0 <= layer.column("ceiling_m")[0] <= 105.0
    assert layer.column("datum") == ["agl"]
    volume = metric(city, layer.geometries[0])
    assert metric(city, city.layers["districts"].geometries[0]).contains(volume.centroid)
    assert len(city.docks) == 2
    stops = []
    for dock in city.docks.values():
        stops += [(dock.lon_deg, dock.lat_deg), city.survey_spots[dock.dock_sn]]
        stops.append((dock.lon_deg, dock.lat_deg))
    for start, end in pairwise(stops):
        assert metric(city, shapely.LineString([start, end])).distance(volume) > 100.0
    for dock in city.docks.values():
        away = float(distance_m(dock.lon_deg, dock.lat_deg, *city.survey_spots[dock.dock_sn]))
        assert 80.0 < away < 500.0


def test_every_community_has_workers_and_every_department_a_unit(city: City) -> None:
    communities = dict(
        zip(
            city.layers["communities"].column("code"),
            city.layers["communities"].geometries,
            strict=True,
        )
    )
    assert {worker.area_code for worker in city.workers} == set(communities)
    for worker in city.workers:
        home = communities[worker.area_code]
        assert home.contains(shapely.Point(worker.lon_deg, worker.lat_deg))
    names = [worker.name for worker in city.workers]
    assert len(set(names)) == len(names)
    assert len({worker.worker_id for worker in city.workers}) == len(names)
    city_wide = {unit.department for unit in city.units if unit.area_code == ""}
    assert city_wide == {"城管", "交通", "住建", "社区", "低空"}
    streets = set(city.layers["streets"].column("code"))
    for department in ("城管", "交通", "社区"):
        areas = {unit.area_code for unit in city.units if unit.department == department}
        assert areas == streets | {""}
    unit_ids = {unit.unit_id for unit in city.units}
    assert len(unit_ids) == len(city.units)
    assert {device.unit_id for device in city.devices.values()} <= unit_ids


@pytest.mark.parametrize("size_m", [1500.0, 3000.0])
def test_other_sizes_work(size_m: float) -> None:
    city = generate_city(3, size_m=size_m)
    assert shapely.coverage_is_valid(city.layers["grids"].geometries)
    west, south, east, north = city.bounds
    assert west < 120.3846 < east
    assert south < 36.0614 < north
