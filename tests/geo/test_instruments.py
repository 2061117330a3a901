"""A whole city's devices: as many as the size says, where their kind belongs, the same always."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import shapely

from core.city import LayerRole
from core.errors import LayerError
from geo.city import City, load_city
from geo.instruments import CAMERA_ROLES, SIZES, STOCK
from geo.tagging import Tagger


@pytest.fixture(scope="module")
def district() -> City:
    return load_city("generated:district", seed=7)


def test_a_city_of_ten_thousand_devices() -> None:
    city = load_city("generated:city", seed=7)
    kinds = Counter(one.kind for one in city.devices.values())
    assert sum(kinds[kind] for kind in STOCK) >= 10_000
    assert kinds["aircraft"] == 200
    assert len(city.cameras) == 500
    assert len(city.docks) == 100
    places = [(d.lon_deg, d.lat_deg) for d in city.devices.values() if d.kind == "water_meter"]
    assert len(set(places)) == len(places)


def test_the_demonstration_s_devices_keep_their_ids_and_places(district: City) -> None:
    before = load_city("generated", seed=7)
    for thing_id, device in before.devices.items():
        assert district.devices[thing_id] == device
    assert set(before.cameras) <= set(district.cameras)


def test_devices_stand_where_their_kind_belongs(district: City) -> None:
    tagger = Tagger(district)
    for kind, zone, least in (
        ("water_level", "underpass", 0.5),
        ("parking", "fire_lane", 0.35),
        ("site_air", "site", 1.0),
        ("structure", "site", 1.0),
    ):
        devices = [one for one in district.devices.values() if one.kind == kind]
        tags = tagger.tag(
            np.array([one.lon_deg for one in devices]), np.array([one.lat_deg for one in devices])
        )
        assert tags.in_zone(zone).mean() >= least, kind


def test_cameras_are_there_for_each_purpose(district: City) -> None:
    roles = Counter(name.split("-", 1)[1].rsplit("-", 1)[0] for name in district.cameras
                    if name.startswith("cam-"))  # fmt: skip
    assert set(roles) == set(CAMERA_ROLES)
    assert min(roles.values()) >= 4, roles


def test_same_seed_same_city_another_seed_another(district: City) -> None:
    again, other = (load_city("generated:district", seed=seed) for seed in (7, 8))
    assert again.devices == district.devices
    assert again.cameras == district.cameras
    assert again.layers["watched-zones"].version == district.layers["watched-zones"].version
    assert other.layers["watched-zones"].version != district.layers["watched-zones"].version


def test_zones_are_valid_and_of_known_kinds(district: City) -> None:
    layer = district.layers["watched-zones"]
    assert layer.role is LayerRole.ZONE
    assert shapely.is_valid(layer.geometries).all()
    kinds = set(layer.column("kind"))
    assert kinds == {"underpass", "fire_lane", "carriageway", "site", "water"}


def test_an_unknown_size_names_the_known_ones() -> None:
    with pytest.raises(LayerError, match=f"{', '.join(SIZES)}.*'village'"):
        load_city("generated:village")


def test_numbers_make_a_city_of_any_size() -> None:
    city = load_city("generated:district,devices=1200,cameras=40,docks=10,aircraft=30,side_m=3000")
    assert (len(city.cameras), len(city.docks)) == (40, 10)
    assert sum(one.kind == "aircraft" for one in city.devices.values()) == 30
    assert 1200 <= len(city.devices) < 1400


@pytest.mark.parametrize(
    "size", ["street,horses=3", "street,devices=5", "street,devices=-60", "street,docks=9"]
)
def test_a_wrong_number_is_told(size: str) -> None:
    with pytest.raises(LayerError, match="wanted, got"):
        load_city(f"generated:{size}")
