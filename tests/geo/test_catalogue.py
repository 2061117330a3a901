"""Versions of layers by date, old codes, and a swap while the map is in use."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import shapely

from commands.layer_import import plan_import, write_import
from core.city import AltitudeDatum, LayerRole
from core.errors import LayerError
from core.incidents import Text
from core.units import rfc3339_to_ns
from geo.catalogue import ALWAYS_NS, Catalogue, Version, load_catalogue, parse_catalogue
from geo.code_changes import check_old_codes, resolve_code
from geo.layers import Layer, build_layer
from geo.live_map import LiveTagger
from geo.model import City
from geo.tagging import Tags

WEST, EAST = shapely.box(120.0, 36.0, 120.1, 36.1), shapely.box(120.1, 36.0, 120.2, 36.1)


def districts(code: str, shape: shapely.Geometry = WEST) -> Layer:
    return build_layer("districts", LayerRole.DISTRICT, [shape], code=[code])


def a_city() -> City:
    return City("x", Text("x", "x"), 4549, {"districts": districts("370202")})


def two_versions(begin_ns: int = 1000) -> Catalogue:
    first, second = districts("370203"), districts("370211")
    return Catalogue(
        {"districts": (Version(first, ALWAYS_NS, None), Version(second, begin_ns, None))}
    )


HERE = (np.array([120.05, 120.05]), np.array([36.05, 36.05]))


def test_each_row_is_tagged_by_the_version_of_its_time() -> None:
    tagger = LiveTagger(a_city(), two_versions())
    tags = tagger.tag(*HERE, None, np.array([999, 1000]))
    places = [tags.place(0), tags.place(1)]
    assert [place.district_code for place in places] == ["370203", "370211"]
    assert places[0].layer_versions != places[1].layer_versions
    assert places[1].layer_versions == {"districts": districts("370211").version}
    assert len(tags) == 2
    for one in (tags.in_zone("x"), tags.in_airspace("x"), tags.airspace_unsure("x")):
        assert one.tolist() == [False, False]
    assert (tags.zones(0), tags.airspaces(1), tags.airspaces_unsure(1)) == ((), (), ())
    assert tags.area_codes() == ["370203", "370211"]
    assert tags.road_names() == [None, None]
    assert tags.road_features_of_rows.tolist() == [-1, -1]


def test_tags_across_a_change_answer_all_that_tags_answer() -> None:
    tags = LiveTagger(a_city(), two_versions()).tag(*HERE, None, np.array([999, 1000]))
    asked = {name for name in vars(Tags) if not name.startswith("_")}
    assert asked <= set(vars(type(tags)))


def test_a_version_that_has_ended_gives_way_to_the_citys_own() -> None:
    ended = Catalogue({"districts": (Version(districts("370203"), 100, 200),)})
    tagger = LiveTagger(a_city(), ended)
    codes = []
    for time_ns in (99, 100, 199, 200):
        tags = tagger.tag(*HERE, {AltitudeDatum.AGL: np.zeros(2)}, np.full(2, time_ns))
        codes.append(tags.place(0).district_code)
    assert codes == ["370202", "370203", "370203", "370202"]


def test_a_swap_is_seen_whole_or_not_at_all() -> None:
    """Batches tagged while versions are swapped hold one version each, and its code."""
    versions = {districts(code).version: code for code in ("370202", "370203")}
    tagger = LiveTagger(a_city())
    other = Catalogue({"districts": (Version(districts("370203"), ALWAYS_NS, None),)})
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            tagger.swap(other)
            tagger.swap(Catalogue())

    thread = threading.Thread(target=swap)
    thread.start()
    lon, lat = np.full(64, 120.05), np.full(64, 36.05)
    seen = set()
    try:
        for _ in range(20_000):
            tags = tagger.tag(lon, lat, None, np.zeros(64, dtype=np.int64))
            places = [tags.place(0), tags.place(63)]
            for place in places:
                assert place.district_code == versions[place.layer_versions["districts"]]
            assert places[0].district_code == places[1].district_code
            seen.add(places[0].district_code)
            if len(seen) == 2 and tagger.swap_count > 20:
                break
    finally:
        stop.set()
        thread.join()
    assert seen == {"370202", "370203"}


def test_fences_are_those_of_the_time_and_stay_the_same_object() -> None:
    airspace = [
        build_layer(
            "air", LayerRole.AIRSPACE, [shape], feature_id=["a"], kind=["protected"],
            floor_m=[0.0], ceiling_m=[120.0], datum=["agl"], ceiling_datum=["agl"], active=[""],
        )
        for shape in (WEST, EAST)
    ]  # fmt: skip
    live = LiveTagger(
        a_city(),
        Catalogue({"air": (Version(airspace[0], 100, 200), Version(airspace[1], 200, None))}),
    )
    assert [len(live.fences_at(ns)) for ns in (99, 100, 200)] == [0, 1, 1]
    assert live.fences_at(100) is live.fences_at(199)
    bounds = [live.fences_at(ns).fences[0].geometry.bounds for ns in (150, 250)]
    assert bounds == [WEST.bounds, EAST.bounds]
    live.swap(Catalogue())
    assert len(live.fences_at(250)) == 0


def test_what_was_imported_is_read_back_and_counts_from_its_date(tmp_path: Path) -> None:
    path = tmp_path / "layers.yaml"
    for code, begin in (("370203", "2024-01-01T00:00:00Z"), ("370211", "2025-01-01T00:00:00Z")):
        layer = districts(code)
        write_import(layer, plan_import(layer, path, Path("new.shp"), begin), path)
    catalogue = load_catalogue(path)
    asked = [rfc3339_to_ns(f"{year}-06-01T00:00:00Z") for year in (2023, 2024, 2025)]
    found = [catalogue.at(time_ns).get("districts") for time_ns in asked]
    assert [one and one.column("code") for one in found] == [None, ["370203"], ["370211"]]
    plan = plan_import(districts("370211"), path, Path("x"), "2026-01-01T00:00:00Z")
    assert plan.before == districts("370211").version


def test_airspace_without_a_ceiling_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "layers.yaml"
    layer = build_layer(
        "air",
        LayerRole.AIRSPACE,
        [WEST],
        floor_m=[60.0],
        ceiling_m=[float("inf")],
        datum=["agl"],
        ceiling_datum=["msl"],
        active=['[{"start_s":0,"end_s":10}]'],
    )
    write_import(layer, plan_import(layer, path, Path("a.txt"), "2024-01-01T00:00:00Z"), path)
    read = load_catalogue(path).at(rfc3339_to_ns("2025-01-01T00:00:00Z"))["air"]
    assert read.version == layer.version


def test_a_changed_file_is_no_longer_what_was_imported(tmp_path: Path) -> None:
    path = tmp_path / "layers.yaml"
    layer = districts("370203")
    plan = plan_import(layer, path, Path("x"), "2024-01-01T00:00:00Z")
    write_import(layer, plan, path)
    write_import(districts("370211"), plan, path)
    with pytest.raises(LayerError, match=r"was imported, .* now holds .*; import it again"):
        load_catalogue(path)


LAYER = "layers:\n- id: a\n  role: district\n  versions:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: []\nlayer: 1", r"l\.yaml line 2: unknown key 'layer'"),
        (f"{LAYER}  - path: x\n    crss: 1", r"l\.yaml line 6: unknown key 'crss'"),
        ("layers:\n- id: a\n  role: moon\n  versions: []", r"l\.yaml line 3"),
        ("layers:\n- id: a\n  role: road\n  versions: []", r"\(a\)\.versions: at least one"),
        (f"{LAYER}  - {{path: x, valid_from: soon}}", r"layers\[0\] \(a\)\.valid_from.*soon"),
        (f"{LAYER}  - path: x\n  - path: y", "each must begin after the one before it"),
        (f"{LAYER}  - {{path: x, fields: {{colour: c}}}}", "'colour' is unknown; accepted: id"),
        ("old_codes: {'370282*': '370215'}", r"a \* was wanted on both sides"),
        ("old_codes: {'37': '38', '38': '37'}", "leads back to where it began"),
        ("old_codes: {abc: '370215'}", "codes of 2 to 15 digits"),
    ],
)
def test_a_wrong_catalogue_names_file_and_place(text: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        parse_catalogue(text, "l.yaml")


def test_no_catalogue_is_an_empty_one(tmp_path: Path) -> None:
    assert load_catalogue(tmp_path / "layers.yaml").at(0) == {}


@pytest.mark.realdata
def test_codes_of_former_years_resolve_in_real_lists(realdata: Path) -> None:
    from geo.city import load_city

    city = load_city(str(realdata / "qingdao"))
    check_old_codes(city.old_codes, "qingdao")
    now = set(city.layers["districts"].column("code"))
    for old in ("370282", "370205", "370284"):
        assert old not in now
        assert resolve_code(old, city.old_codes) in now
    streets = set(city.layers["streets"].column("code"))
    lines = (realdata / "qingdao" / "codes" / "nbs_2019_qingdao_5level.csv").read_text().split()
    towns = [line.split(",")[0] for line in lines if line.endswith(",town")]
    unchanged = [code for code in towns if resolve_code(code, city.old_codes) == code]
    assert len(unchanged) == len(towns) > 130
    assert len(streets & set(towns)) > 100
    assert resolve_code("370282001", city.old_codes) == "370215001"
