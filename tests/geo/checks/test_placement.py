"""A layer in the wrong place is told what it is, or how far off."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from core.city import LayerRole
from geo.checks.anchors import check_anchors, known_aerodromes
from geo.checks.placement import Placement, check_placement
from geo.crs import MetricFrame, convert_points
from geo.layers import Layer, build_layer

FRAME = MetricFrame(4549)


def some_areas(seed: int = 5) -> NDArray[np.object_]:
    """Irregular areas that share out a part of Qingdao: Voronoi cells."""
    points = np.random.default_rng(seed).uniform((120.3, 36.0), (120.6, 36.25), (40, 2))
    cells = shapely.voronoi_polygons(shapely.multipoints(points))
    return np.asarray(
        shapely.intersection(shapely.get_parts(cells), shapely.box(120.3, 36.0, 120.6, 36.25))
    )


AREAS = some_areas()
CODES = [f"370202{number:03d}" for number in range(1, len(AREAS) + 1)]


def a_layer(role: LayerRole = LayerRole.STREET) -> Layer:
    return build_layer("known", role, AREAS, code=CODES)


def moved(target: str, *, swapped: bool = False) -> NDArray[np.object_]:
    def turn(points: NDArray[np.float64]) -> NDArray[np.float64]:
        pair = np.column_stack(convert_points(points[:, 0], points[:, 1], 4326, target))
        return pair[:, ::-1] if swapped else pair

    return np.asarray(shapely.transform(AREAS, turn), dtype=object)


def place(shapes: NDArray[np.object_], declared: str | None, *, codes: bool = True) -> Placement:
    found = check_placement(
        shapes, declared, LayerRole.STREET, [a_layer()], FRAME, codes=CODES if codes else ()
    )
    assert found is not None
    return found


@pytest.mark.parametrize("codes", [True, False], ids=["by-code", "by-lines"])
@pytest.mark.parametrize(
    ("really", "swapped", "declared"),
    [
        ("GCJ-02", False, "EPSG:4326"),
        ("BD-09", False, "EPSG:4326"),
        ("BD-09", False, "GCJ-02"),
        ("EPSG:4326", False, "GCJ-02"),
        ("EPSG:4326", True, "EPSG:4326"),
        ("GCJ-02", True, "EPSG:4326"),
        ("EPSG:4549", False, "EPSG:4548"),
        ("EPSG:4549", True, "EPSG:4549"),
        ("EPSG:4528", False, "EPSG:4527"),
        ("EPSG:3857", False, "EPSG:4549"),
    ],
)
def test_the_true_reading_is_named(really: str, swapped: bool, declared: str, codes: bool) -> None:
    found = place(moved(really, swapped=swapped), declared, codes=codes)
    assert not found.agrees
    assert found.likely is not None
    assert (found.likely.crs, found.likely.swapped, found.likely.shift) == (really, swapped, None)
    assert found.fits[0].misfit.upper_m < 0.01


@pytest.mark.parametrize("crs", ["EPSG:4326", "GCJ-02", "BD-09", "EPSG:4549", "EPSG:3857"])
def test_what_lies_where_it_says_agrees(crs: str) -> None:
    found = place(moved(crs), crs)
    assert found.agrees
    assert found.declared is not None
    assert found.declared.misfit.upper_m < 0.01


def test_without_a_crs_the_likely_one_is_named() -> None:
    assert place(moved("GCJ-02"), None).likely is not None
    assert place(moved("GCJ-02"), None).likely.crs == "GCJ-02"  # type: ignore[union-attr]


def test_a_shift_inside_a_projection_is_seen() -> None:
    """Degrees that were shifted first and projected then, as Amap's tiles are."""
    lon, lat = shapely.get_coordinates(AREAS).T
    shifted = convert_points(*convert_points(lon, lat, 4326, "GCJ-02"), 4326, 3857)
    shapes = shapely.set_coordinates(AREAS.copy(), np.column_stack(shifted))
    found = place(shapes, "EPSG:3857")
    assert found.likely is not None
    assert (found.likely.crs, found.likely.shift) == ("EPSG:3857", "GCJ-02")


@pytest.mark.parametrize("codes", [True, False], ids=["by-code", "by-lines"])
@pytest.mark.parametrize("shift_m", [(150.0, -80.0), (-2600.0, 4100.0), (9000.0, 3000.0)])
def test_a_constant_shift_is_measured(shift_m: tuple[float, float], codes: bool) -> None:
    away = shapely.transform(FRAME.geometry_to_metric(AREAS), lambda xy: np.add(xy, shift_m))
    found = place(np.asarray(FRAME.geometry_to_lonlat(away)), "EPSG:4326", codes=codes)
    assert found.shift is not None
    assert found.shift.east_m == pytest.approx(-shift_m[0], abs=2.0)
    assert found.shift.north_m == pytest.approx(-shift_m[1], abs=2.0)
    assert not found.agrees


def test_another_survey_of_the_same_borders_agrees() -> None:
    rough = shapely.transform(
        shapely.segmentize(AREAS, 0.002), lambda xy: xy + 1.5e-4 * np.sin(xy[:, ::-1] * 4000.0)
    )
    assert place(np.asarray(rough), "EPSG:4326").agrees


def test_one_feature_elsewhere_is_pointed_out() -> None:
    shapes = AREAS.copy()
    shapes[7] = shapely.transform(shapes[7], lambda xy: np.add(xy, (0.02, 0.0)))
    found = place(shapes, "EPSG:4326")
    assert found.agrees
    assert set(found.odd_features) == {7}


def test_children_are_compared_with_the_area_that_their_code_names() -> None:
    parents = [
        shapely.union_all(AREAS[:20]),
        shapely.union_all(AREAS[20:]),
    ]
    known = build_layer("districts", LayerRole.DISTRICT, parents, code=["370202", "370203"])
    codes = [("370202" if row < 20 else "370203") + f"{row + 1:03d}" for row in range(len(AREAS))]
    for really in ("EPSG:4326", "GCJ-02"):
        found = check_placement(
            moved(really), "EPSG:4326", LayerRole.STREET, [known], FRAME, codes=codes
        )
        assert found is not None
        assert found.reference.how == "parent"
        assert found.agrees == (really == "EPSG:4326")
        assert found.likely is not None
        assert found.likely.crs == really


@pytest.mark.parametrize("known", [[], [a_layer()]], ids=["nothing-known", "no-features"])
def test_nothing_to_compare_gives_none(known: list[Layer]) -> None:
    shapes = AREAS if not known else AREAS[:0]
    assert check_placement(shapes, "EPSG:4326", LayerRole.STREET, known, FRAME) is None


@pytest.mark.parametrize(
    ("really", "shift_m"),
    [("GCJ-02", None), ("BD-09", None), ("EPSG:4326", (300.0, 0.0)), ("EPSG:4326", (-1200, 1600))],
)
@pytest.mark.parametrize("role", [LayerRole.CUSTOM, LayerRole.ZONE])
def test_areas_without_codes_are_known_by_the_borders_that_they_share(
    really: str, shift_m: tuple[float, float] | None, role: LayerRole
) -> None:
    some = moved(really)[:12]
    if shift_m is not None:
        some = FRAME.geometry_to_lonlat(
            shapely.transform(FRAME.geometry_to_metric(some), lambda p: p + shift_m)
        )
    found = check_placement(some, "EPSG:4326", role, [a_layer()], FRAME)
    assert found is not None
    assert found.reference.how == "borders"
    if shift_m is None:
        assert found.likely is not None
        assert found.likely.crs == really
    else:
        assert found.shift is not None
        assert (found.shift.east_m, found.shift.north_m) == pytest.approx(
            (-shift_m[0], -shift_m[1]), abs=1
        )


def test_areas_that_share_no_border_are_compared_with_the_citys_area_only() -> None:
    rng = np.random.default_rng(3)
    zones = shapely.buffer(
        shapely.points(rng.uniform((120.32, 36.02), (120.58, 36.23), (25, 2))), 0.004
    )
    found = check_placement(zones, "EPSG:4326", LayerRole.ZONE, [a_layer()], FRAME)
    assert found is not None
    assert (found.reference.how, found.shift) == ("outline", None)
    assert found.likely == found.declared.reading


def surfaces(count: int, seed: int = 4) -> NDArray[np.object_]:
    """Boxes about aerodromes, their middles up to some hundred metres from the published ones."""
    rng = np.random.default_rng(seed)
    known = known_aerodromes()
    places = known[rng.permutation(len(known))[:count]] + rng.normal(0.0, 0.0015, (count, 2))
    return shapely.box(*(places - 0.1).T, *(places + 0.1).T)


@pytest.mark.parametrize("count", [6, 40])
@pytest.mark.parametrize("shift_deg", [(0.02, 0.005), (-0.012, 0.016), (0.2, -0.2)])
def test_surfaces_shifted_from_their_aerodromes_say_how_far(
    count: int, shift_deg: tuple[float, float]
) -> None:
    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        # Metres alike everywhere, as a false easting gives.
        return points + np.column_stack(
            [shift_deg[0] / np.cos(np.radians(points[:, 1])), np.full(len(points), shift_deg[1])]
        )

    found = check_anchors(shapely.transform(surfaces(count), move), "EPSG:4326")
    assert found is not None
    assert found.shift is not None
    wanted = np.hypot(*shift_deg) * 111_195
    assert found.shift.length_m == pytest.approx(wanted, abs=200)
    assert found.likely is None


def test_surfaces_at_their_aerodromes_agree_and_swapped_ones_are_told() -> None:
    shapes = surfaces(40)
    found = check_anchors(shapes, "EPSG:4326")
    assert found is not None
    assert found.agrees
    swapped = check_anchors(shapely.transform(shapes, lambda points: points[:, ::-1]), "EPSG:4326")
    assert swapped is not None
    assert swapped.likely is not None
    assert swapped.likely.swapped


@pytest.mark.parametrize("away_deg", [0.015, 0.05, 0.3])
def test_sites_beside_one_aerodrome_are_not_taken_for_its_surfaces(away_deg: float) -> None:
    rng = np.random.default_rng(6)
    places = known_aerodromes()[20] + (away_deg, 0.0) + rng.uniform(-0.002, 0.002, (30, 2))
    sites = shapely.box(*(places - 1e-4).T, *(places + 1e-4).T)
    found = check_anchors(sites, "EPSG:4326")
    assert found is None or found.shift is None


def test_piers_outside_the_citys_outline_are_not_taken_for_another_datum() -> None:
    piers = [shapely.box(120.598, 36.02 + y, 120.602, 36.0205 + y) for y in np.arange(20) * 0.01]
    found = check_placement(np.array(piers), "EPSG:4326", LayerRole.ZONE, [a_layer()], FRAME)
    assert found is not None
    assert found.reference.how == "outline"
    assert found.fits[0].reading.crs != "EPSG:4326"  # by some metres only
    assert found.agrees
