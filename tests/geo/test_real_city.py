"""The real map of Qingdao: what is known to be true of it holds after reading."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import shapely

from core.city import LayerRole
from core.errors import LayerError
from geo.camera import FlatGroundProjector
from geo.city import City, load_city
from geo.crs import MetricFrame
from geo.grid_codes import is_area_code
from geo.layers import read_layer
from geo.tagging import Tagger

pytestmark = pytest.mark.realdata

STREETS = {
    "370202": 11,
    "370203": 22,
    "370211": 23,
    "370212": 5,
    "370213": 11,
    "370214": 8,
    "370215": 15,
    "370281": 12,
    "370283": 17,
    "370285": 11,
}


@pytest.fixture(scope="module")
def city(realdata: Path) -> City:
    return load_city(str(realdata / "qingdao"))


def test_districts_and_streets_are_all_there(city: City) -> None:
    districts, streets = city.layers["districts"], city.layers["streets"]
    assert set(districts.column("code")) == set(STREETS)
    assert Counter(code[:6] for code in streets.column("code")) == STREETS
    assert all(is_area_code(code, "street") for code in streets.column("code"))
    assert not any(districts.column("generated") + streets.column("generated"))
    assert (districts.repaired_count, streets.repaired_count) == (0, 0)


def test_districts_have_the_known_area_in_the_citys_frame(city: City) -> None:
    shapes = city.frame.geometry_to_metric(city.layers["districts"].geometries)
    assert shapely.area(shapes).sum() / 1e6 == pytest.approx(11_182.5, abs=15.0)


def test_it_loads_quickly(realdata: Path) -> None:
    started = time.perf_counter()
    load_city(str(realdata / "qingdao"))
    assert time.perf_counter() - started < 3.0


def test_a_district_is_generated_inside_the_real_street(city: City) -> None:
    streets = city.layers["streets"]
    row = streets.column("code").index("370202001")
    street = city.frame.geometry_to_metric(streets.geometries[row])
    for role in (LayerRole.COMMUNITY, LayerRole.GRID):
        (layer,) = city.layers_of(role)
        assert all(layer.column("generated"))
        assert all(code.startswith("3702020011") for code in layer.column("code"))
        shapes = city.frame.geometry_to_metric(layer.geometries)
        assert shapely.is_valid(shapes).all()
        assert shapely.area(shapes).sum() == pytest.approx(street.area, abs=5.0)
        assert shapely.union_all(shapes).symmetric_difference(street).area < 5.0
    for layer in (city.layers["zones"], city.layers["buildings"], city.layers["devices"]):
        shapes = city.frame.geometry_to_metric(layer.geometries)
        assert shapely.covers(street.buffer(0.01), shapes).all(), layer.id


def test_what_demonstrations_need_is_there_too(city: City) -> None:
    zones = city.layers["zones"]
    kinds = Counter(zones.column("kind"))
    assert kinds["underpass"] == 1
    assert kinds["no_parking"] >= 4
    assert kinds["fire_lane"] >= 2
    assert kinds["site"] == 2
    projector = FlatGroundProjector()
    shapes = dict(zip(zones.column("feature_id"), zones.geometries, strict=True))
    for camera, zone in (("camera-1", "no-parking-1"), ("camera-2", "fire-lane-1")):
        pose = city.cameras[camera].pose
        assert pose is not None
        assert projector.footprint(pose).contains(shapes[zone])
    (airspace,) = city.layers_of(LayerRole.AIRSPACE)
    volume = city.frame.geometry_to_metric(airspace.geometries[0])
    for dock in city.docks.values():
        flight = shapely.LineString([(dock.lon_deg, dock.lat_deg), city.survey_spots[dock.dock_sn]])
        assert city.frame.geometry_to_metric(flight).distance(volume) > 100.0


@pytest.mark.parametrize(
    ("lon", "lat", "codes", "area_name"),
    [
        (120.3846, 36.0614, ("370202", "370202001"), "市南区·香港中路街道"),
        (120.4544, 36.3897, ("370215", None), "即墨区"),
        (121.5, 36.0, (None, None), ""),
    ],
    ids=["hong-kong-road", "jimo", "the-sea"],
)
def test_known_places(
    city: City, lon: float, lat: float, codes: tuple[str | None, ...], area_name: str
) -> None:
    place = Tagger(city).tag(np.array([lon]), np.array([lat])).place(0)
    assert place.district_code == codes[0]
    if codes[1] is not None:
        assert place.street_code == codes[1]
        assert place.grid_code is not None
        assert place.generated
    assert place.area_name.startswith(area_name)


@pytest.mark.parametrize("name", ["370200.json", "370200_full.2021.json"])
def test_the_shifted_files_are_refused_until_they_say_what_they_are(
    realdata: Path, name: str
) -> None:
    path = realdata / "qingdao" / "amap_gcj02" / name
    with pytest.raises(LayerError, match="no CRS is declared"):
        read_layer(path, id="amap", role=LayerRole.DISTRICT)
    layer = read_layer(
        path, id="amap", role=LayerRole.DISTRICT, crs="GCJ-02", fields={"code": "adcode"}
    )
    assert len(layer) == 10
    assert set(layer.column("code")) == set(STREETS)


def test_the_shift_of_chengyang_is_undone(realdata: Path, city: City) -> None:
    """Its border in GCJ-02 lies 227 m from the true one (p75), within about a metre after."""
    path = realdata / "qingdao" / "amap_gcj02" / "370200_full.2021.json"
    frame = MetricFrame(4549)
    true = city.layers["districts"]
    border = shapely.boundary(
        frame.geometry_to_metric(true.geometries[true.column("code").index("370214")])
    )

    def p75_m(crs: str) -> float:
        layer = read_layer(
            path, id="amap", role=LayerRole.DISTRICT, crs=crs, fields={"code": "adcode"}
        )
        shape = layer.geometries[layer.column("code").index("370214")]
        points = shapely.points(shapely.get_coordinates(frame.geometry_to_metric(shape)))
        return float(np.percentile(shapely.distance(points, border), 75))

    assert p75_m("EPSG:4326") > 200.0
    assert p75_m("GCJ-02") < 1.0
