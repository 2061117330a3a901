"""Furnishes a planned district: buildings, zones, airspace, sensors, cameras, docks.

Everything is placed where its scenario can happen and be seen: a stretch where parking is
forbidden lies before a camera, a water gauge in the underpass, a flight from a dock to its
survey spot keeps clear of the protected volume.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from core.city import AltitudeDatum, Camera, CameraPose, Device, Dock, LayerRole
from core.errors import GeometryError
from core.incidents import Text
from geo.crs import MetricFrame
from geo.distance import bearing_deg
from geo.layers import Layer, build_layer
from geo.street_plan import Segment, StreetPlan

#: Width of the kerb lane where parking is forbidden or kept free, and of the pavement.
_LANE_M = 4.0
_PAVEMENT_M = 4.0

#: What a street camera looks at lies this far ahead of its pole.
_VIEW_FROM_M, _VIEW_TO_M = 11.0, 34.0

#: Height and radius of the volume around the waterworks.
_PROTECTED_CEILING_M = 90.0
_PROTECTED_RADIUS_M = 130.0

_DOCK_SNS = ("7CTDM3900BQN01", "7CTDM3900BQN02")
_AIRCRAFT_SNS = ("1581F6Q8D23QN0001", "1581F6Q8D23QN0002")


@dataclass
class _Zones:
    """Zones in metres, as they are placed."""

    shapes: list[Any] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def add(self, kind: str, shape: Any, name: str) -> Any:
        number = self.kinds.count(kind) + 1
        if name in self.names:
            name = f"{name}（{number}）"
        self.shapes.append(shape)
        self.ids.append(f"{kind.replace('_', '-')}-{number}")
        self.names.append(name)
        self.kinds.append(kind)
        return shape


@dataclass(frozen=True)
class Furnishing:
    """What was placed; a device comes with the number of its unit grid, None for what flies."""

    layers: list[Layer]
    devices: list[tuple[Device, int | None]]
    cameras: dict[str, Camera]
    docks: dict[str, Dock]
    survey_spots: dict[str, tuple[float, float]]


class _Register:
    """Gives devices their ids and finds their unit grids."""

    def __init__(self, frame: MetricFrame, plan: StreetPlan) -> None:
        self._frame = frame
        self._tree = shapely.STRtree(plan.cells)
        self.devices: list[tuple[Device, int | None]] = []

    def add(self, kind: str, prefix: str, at_m: NDArray[np.float64], name: str) -> None:
        number = sum(one.kind == kind for one, _ in self.devices) + 1
        self.add_named(kind, f"{prefix}-{number:04d}", at_m, name)

    def add_named(self, kind: str, thing_id: str, at_m: NDArray[np.float64], name: str) -> None:
        lon, lat = _lonlat(self._frame, at_m)
        cells = self._tree.query(shapely.Point(lon, lat), predicate="intersects")
        cell = int(cells.min()) if len(cells) else None
        device = Device(thing_id=thing_id, kind=kind, lon_deg=lon, lat_deg=lat, name=name)
        self.devices.append((device, cell))


def furnish(
    rng: np.random.Generator,
    frame: MetricFrame,
    plan: StreetPlan,
    road_names: list[str],
    community_of_cell: list[str],
) -> Furnishing:
    """Place everything that a demonstration needs, as a function of the plan and chance.

    Args:
        rng: Where chance comes from.
        frame: The city's metric frame.
        plan: Roads and unit grids.
        road_names: By number of the road.
        community_of_cell: Name of each cell's community.

    Raises:
        GeometryError: The plan has too few straight pieces of road.
    """
    segments = _Segments(plan)
    zones = _Zones()
    register = _Register(frame, plan)
    cameras: dict[str, Camera] = {}

    cells = _Cells(plan)
    corner = cells.middle_of(cells.extreme(1.0, 1.0))
    protected = cells.near(plan.middle_m + 0.75 * (corner - plan.middle_m), set())
    spot_segment = segments.take(
        "primary", near=cells.middle_of(cells.extreme(-1.0, -1.0)), share=0.5
    )
    for number, (kind, road_kind) in enumerate(
        (("no_parking", "primary"), ("fire_lane", "residential")), 1
    ):
        segment = segments.take(road_kind)
        road = road_names[segment.road]
        cameras[f"camera-{number}"] = _street_camera(frame, zones, segment, kind, number, road)
        if kind == "fire_lane":
            _parking(register, segment, road)

    spot = _survey_spot(zones, spot_segment, road_names[spot_segment.road])
    cameras["camera-air-1"] = Camera(camera_id="camera-air-1", name="一号机场无人机云台相机")

    underpass = segments.take("primary")
    road = road_names[underpass.road]
    half, middle = underpass.half_width_m, underpass.length_m / 2
    zones.add(
        "underpass", underpass.strip(middle - 20, middle + 20, -half, half), f"{road}下穿通道"
    )
    register.add("water_level", "water", underpass.at(middle, 2.5), f"{road}下穿通道水位计")

    for _ in range(3):
        segment = segments.take("secondary")
        _kerb_zone(zones, segment, "no_parking", road_names[segment.road])
    lane = segments.take("residential")
    _kerb_zone(zones, lane, "fire_lane", road_names[lane.road])
    _parking(register, lane, road_names[lane.road])
    low = segments.take("residential")
    register.add(
        "water_level", "water", low.at(low.length_m / 2, 3.0), f"{road_names[low.road]}积水点水位计"
    )

    used = {protected}
    for number in (1, 2):
        cell = cells.near(plan.middle_m + np.array([350.0 * (2 * number - 3), 250.0]), used)
        used.add(cell)
        site = zones.add(
            "site",
            plan.patch(cell, 0.18, 0.18, 0.82, 0.82),
            f"{community_of_cell[cell]}{number}号工地",
        )
        gate = plan.in_cell(cell, 0.3, 0.3)
        register.add("site_air", "air", gate, f"{zones.names[-1]}扬尘噪声监测点")
        assert site.contains(shapely.Point(gate))
    square = cells.near(plan.middle_m + np.array([60.0, -260.0]), used)
    used.add(square)
    zones.add(
        "square", plan.patch(square, 0.2, 0.2, 0.8, 0.8), f"{community_of_cell[square]}文化广场"
    )

    docks, spots = _docks(frame, cells, used, spot, protected)
    buildings, homes = _buildings(rng, frame, plan, community_of_cell, used, protected)
    _street_sensors(rng, register, segments, road_names)
    _home_sensors(register, homes, community_of_cell)
    for dock in docks.values():
        at = np.array([float(v) for v in frame.to_metric(dock.lon_deg, dock.lat_deg)])
        register.add_named("dock", dock.dock_sn, at, dock.name)
    register.devices.extend(
        (Device(thing_id=sn, kind="aircraft", name=f"{number}号机场无人机"), None)
        for number, sn in enumerate(_AIRCRAFT_SNS, 1)
    )

    waterworks = shapely.Point(cells.middle_of(protected)).buffer(_PROTECTED_RADIUS_M, quad_segs=12)
    layers = [
        buildings,
        build_layer(
            "zones",
            LayerRole.ZONE,
            _degrees(frame, zones.shapes),
            title=Text("管控区域", "Zones"),
            feature_id=zones.ids,
            name=zones.names,
            kind=zones.kinds,
            generated=True,
        ),
        build_layer(
            "airspace",
            LayerRole.AIRSPACE,
            _degrees(frame, [waterworks]),
            title=Text("空域", "Airspace"),
            feature_id=["protected-1"],
            name=[f"{community_of_cell[protected].removesuffix('社区')}水厂净空保护区"],
            kind=["protected"],
            generated=True,
            floor_m=[0.0],
            ceiling_m=[_PROTECTED_CEILING_M],
            datum=[AltitudeDatum.AGL.value],
        ),
        build_layer(
            "survey",
            LayerRole.CUSTOM,
            [shapely.Point(*where) for where in spots.values()],
            title=Text("巡检点", "Survey spots"),
            feature_id=[f"survey-{number}" for number in range(1, len(spots) + 1)],
            code=list(spots),
            name=[f"{number}号机场巡检点" for number in range(1, len(spots) + 1)],
            kind=["survey_spot"] * len(spots),
            generated=True,
        ),
    ]
    return Furnishing(layers, register.devices, cameras, docks, spots)


class _Segments:
    """Hands out straight pieces of road, each once, nearest the middle first."""

    def __init__(self, plan: StreetPlan) -> None:
        self._middle = plan.middle_m
        self._free = [one for one in plan.segments if one.length_m >= 150.0]

    def take(
        self, kind: str, near: NDArray[np.float64] | None = None, share: float = 0.0
    ) -> Segment:
        """The free piece of a kind (of any, when it has run out) nearest the middle.

        With ``near`` the goal moves from the middle towards that point by ``share``.
        """
        if not self._free:
            raise GeometryError(
                "generator: another straight piece of road of 150 m was wanted, all are in use; "
                "generate in a larger area"
            )
        goal = self._middle if near is None else self._middle + share * (near - self._middle)
        wanted = [one for one in self._free if one.kind == kind] or self._free
        best = min(wanted, key=lambda one: float(np.hypot(*(one.at(one.length_m / 2, 0) - goal))))
        self._free.remove(best)
        return best

    def spread(self, count: int) -> list[Segment]:
        """Free pieces spread over the area, at most ``count``."""
        step = max(1, len(self._free) // count)
        return self._free[::step][:count]


class _Cells:
    """Finds whole unit grids by place."""

    def __init__(self, plan: StreetPlan) -> None:
        self._plan = plan
        self._whole = np.flatnonzero(plan.whole)
        self._middles = np.array([plan.in_cell(int(cell), 0.5, 0.5) for cell in self._whole])

    def middle_of(self, cell: int) -> NDArray[np.float64]:
        return self._plan.in_cell(cell, 0.5, 0.5)

    def extreme(self, east: float, north: float) -> int:
        """The cell that lies furthest in a direction."""
        return int(self._whole[np.argmax(self._middles @ np.array([east, north]))])

    def near(self, goal: NDArray[np.float64], used: set[int]) -> int:
        """The free cell nearest a point."""
        away = np.hypot(*(self._middles - goal).T)
        order = self._whole[np.argsort(away, kind="stable")].tolist()
        return next(int(cell) for cell in order if cell not in used)


def _lonlat(frame: MetricFrame, at_m: NDArray[np.float64]) -> tuple[float, float]:
    lon, lat = frame.to_lonlat(at_m[0], at_m[1])
    return round(float(lon), 8), round(float(lat), 8)


def _degrees(frame: MetricFrame, shapes: list[Any]) -> NDArray[np.object_]:
    moved = frame.geometry_to_lonlat(np.array(shapes, dtype=object))
    return np.asarray(shapely.transform(moved, lambda points: points.round(9)), dtype=object)


def _street_camera(
    frame: MetricFrame, zones: _Zones, segment: Segment, kind: str, number: int, road: str
) -> Camera:
    """A camera on a pole in the pavement, looking along the kerb at a zone and the pavement."""
    half, from_m = segment.half_width_m, segment.length_m / 2 - 30.0
    begin, end = from_m + _VIEW_FROM_M, from_m + _VIEW_TO_M
    label = "禁停路段" if kind == "no_parking" else "消防车通道"
    zones.add(kind, segment.strip(begin, end, half - _LANE_M, half), f"{road}{label}")
    zones.add(
        "pavement", segment.strip(begin, end, half + 0.2, half + _PAVEMENT_M), f"{road}人行道"
    )
    pole = _lonlat(frame, segment.at(from_m, half + 1.0))
    aim = _lonlat(frame, segment.at(end, half - 1.0))
    height_m, pitch_deg = ((7.0, -25.0), (6.5, -24.0))[number - 1]
    pose = CameraPose(
        lon_deg=pole[0],
        lat_deg=pole[1],
        height_agl_m=height_m,
        yaw_deg=round(float(bearing_deg(*pole, *aim)), 3),
        pitch_deg=pitch_deg,
        hfov_deg=70.0,
        width_px=640,
        height_px=360,
    )
    return Camera(camera_id=f"camera-{number}", name=f"{road}{number}号枪机", pose=pose)


def _kerb_zone(zones: _Zones, segment: Segment, kind: str, road: str) -> None:
    half, middle = segment.half_width_m, segment.length_m / 2
    label = "禁停路段" if kind == "no_parking" else "消防车通道"
    zones.add(kind, segment.strip(middle - 20, middle + 20, half - _LANE_M, half), f"{road}{label}")


def _survey_spot(zones: _Zones, segment: Segment, road: str) -> NDArray[np.float64]:
    """A stretch and its pavement that fit into one picture straight down from 60 m."""
    half, middle = segment.half_width_m, segment.length_m / 2
    zones.add(
        "no_parking",
        segment.strip(middle - 12, middle + 12, half - _LANE_M, half),
        f"{road}巡检禁停路段",
    )
    zones.add(
        "pavement",
        segment.strip(middle - 12, middle + 12, half + 0.2, half + _PAVEMENT_M),
        f"{road}巡检人行道",
    )
    return segment.at(middle, half)


def _parking(register: _Register, segment: Segment, road: str) -> None:
    """Two sensors in the fire lane on the right, three in legal bays across the road.

    Both kinds of fire lane span the metres from 19 before the middle to 4 beyond it.
    """
    half, middle = segment.half_width_m, segment.length_m / 2
    for at in (middle - 14.0, middle - 4.0):
        register.add("parking", "parking", segment.at(at, half - 2.0), f"{road}消防车通道地磁")
    for at in (middle - 12.0, middle - 6.0, middle):
        register.add("parking", "parking", segment.at(at, -half + 1.2), f"{road}停车泊位地磁")


def _docks(
    frame: MetricFrame,
    cells: _Cells,
    used: set[int],
    spot: NDArray[np.float64],
    protected: int,
) -> tuple[dict[str, Dock], dict[str, tuple[float, float]]]:
    """Two docks on the far side of their survey spots from the protected volume."""
    away = spot - cells.middle_of(protected)
    away = away / np.hypot(*away)
    across = np.array([-away[1], away[0]])
    second = cells.middle_of(cells.near(spot + 400.0 * across, used))
    spots = (spot, second)
    docks: dict[str, Dock] = {}
    goals: dict[str, tuple[float, float]] = {}
    for number, goal in enumerate(spots, 1):
        cell = cells.near(goal + 220.0 * away, used)
        used.add(cell)
        lon, lat = _lonlat(frame, cells.middle_of(cell))
        sn = _DOCK_SNS[number - 1]
        docks[sn] = Dock(
            dock_sn=sn,
            aircraft_sn=_AIRCRAFT_SNS[number - 1],
            lon_deg=lon,
            lat_deg=lat,
            name=f"{number}号无人机机场",
        )
        goals[sn] = _lonlat(frame, goal)
    return docks, goals


#: Layouts of buildings in a unit grid: rectangles as shares of its sides.
_LAYOUTS: tuple[tuple[tuple[float, float, float, float], ...], ...] = (
    tuple((u, v, u + 0.28, v + 0.14) for u in (0.19, 0.54) for v in (0.19, 0.44, 0.68)),
    ((0.2, 0.2, 0.8, 0.38), (0.2, 0.56, 0.8, 0.76)),
    ((0.22, 0.2, 0.42, 0.8), (0.58, 0.2, 0.78, 0.8)),
    ((0.24, 0.24, 0.76, 0.76),),
    ((0.2, 0.2, 0.48, 0.48), (0.54, 0.54, 0.8, 0.8), (0.2, 0.6, 0.44, 0.8)),
)
_KINDS = ("residential", "residential", "office", "shop", "public")
_BUILDING_WORDS = {
    "residential": "号楼",
    "office": "号写字楼",
    "shop": "号商场",
    "public": "号公共建筑",
}


def _buildings(
    rng: np.random.Generator,
    frame: MetricFrame,
    plan: StreetPlan,
    community_of_cell: list[str],
    used: set[int],
    protected: int,
) -> tuple[Layer, list[tuple[int, NDArray[np.float64]]]]:
    """Buildings in every free whole unit grid; homes are returned with cell and middle."""
    layouts = rng.integers(0, len(_LAYOUTS), len(plan.cells)).tolist()
    shapes: list[Any] = []
    labels: list[str] = []
    kinds: list[str] = []
    homes: list[tuple[int, NDArray[np.float64]]] = []
    counts: dict[tuple[str, str], int] = {}
    for cell in np.flatnonzero(plan.whole).tolist():
        if cell in used and cell != protected:
            continue
        layout = _LAYOUTS[3] if cell == protected else _LAYOUTS[layouts[cell]]
        kind = "waterworks" if cell == protected else _KINDS[layouts[cell]]
        for u0, v0, u1, v1 in layout:
            place = community_of_cell[cell].removesuffix("社区")
            number = counts[place, kind] = counts.get((place, kind), 0) + 1
            shapes.append(plan.patch(cell, u0, v0, u1, v1))
            kinds.append(kind)
            word = _BUILDING_WORDS.get(kind)
            labels.append(f"{place}{number}{word}" if word else f"{place}水厂")
            if kind == "residential":
                homes.append((cell, plan.in_cell(cell, (u0 + u1) / 2, (v0 + v1) / 2)))
    layer = build_layer(
        "buildings",
        LayerRole.BUILDING,
        _degrees(frame, shapes),
        title=Text("建筑物", "Buildings"),
        name=labels,
        kind=kinds,
        generated=True,
    )
    return layer, homes


def _street_sensors(
    rng: np.random.Generator, register: _Register, segments: _Segments, road_names: list[str]
) -> None:
    """Manhole covers in the carriageway, off the centre line where unit grids meet."""
    covers = segments.spread(12)
    offsets = rng.uniform(0.3, 0.7, len(covers))
    for segment, share in zip(covers, offsets.tolist(), strict=True):
        at = segment.at(share * segment.length_m, 2.5)
        register.add("manhole", "manhole", at, f"{road_names[segment.road]}雨水井盖")


def _home_sensors(
    register: _Register,
    homes: list[tuple[int, NDArray[np.float64]]],
    community_of_cell: list[str],
) -> None:
    step = max(1, len(homes) // 13)
    for number, (cell, at) in enumerate(homes[step // 2 :: step][:12]):
        community = community_of_cell[cell]
        if number % 2 == 0:
            register.add("smoke", "smoke", at, f"{community}独立式感烟探测器")
        else:
            register.add("gas", "gas", at, f"{community}可燃气体探测器")
