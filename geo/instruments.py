"""Puts a whole city's devices into a generated one: sensors, cameras, docks, places to watch.

:mod:`geo.furnishing` places the few dozen things of the demonstration one by one; this places
thousands by kind, as a function of the city, the seed and the size. The ids of what was there
before stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from core.city import Camera, CameraPose, Device, Dock, LayerRole, Unit
from core.errors import InputError
from core.incidents import Text
from geo.layers import build_layer
from geo.model import City, register_layers


class Size(NamedTuple):
    """How much stands in a city; counts include what the generator has placed already."""

    device_count: int
    camera_count: int
    dock_count: int
    aircraft_count: int
    size_m: float


#: From one street to a city. ``aircraft_count`` counts those of docks and other registered ones.
SIZES = {
    "street": Size(60, 8, 2, 3, 1500.0),
    "district": Size(420, 72, 6, 12, 2000.0),
    "city": Size(10_000, 500, 100, 200, 6000.0),
}


#: What a size may be told with, and within which bounds; the map's side in metres.
_TOLD = {
    "devices": ("device_count", 60, 100_000),
    "cameras": ("camera_count", 3, 5_000),
    "docks": ("dock_count", 2, 1_000),
    "aircraft": ("aircraft_count", 2, 10_000),
    "side_m": ("size_m", 1_000, 20_000),
}


def parse_size(text: str) -> Size:
    """A size as people write it: a word, and numbers that differ from the word's.

    Raises:
        InputError: A word or number is not known or out of bounds.

    Example:
        >>> parse_size("street").device_count
        60
        >>> parse_size("district,devices=3000,cameras=40,aircraft=20")
        Size(device_count=3000, camera_count=40, dock_count=6, aircraft_count=20, size_m=2000.0)
        >>> parse_size("district,horses=3")
        Traceback (most recent call last):
        ...
        core.errors.InputError: size: devices, cameras, docks, aircraft, side_m wanted, got 'horses'
    """
    word, *told = (one.strip() for one in text.split(","))
    size = SIZES.get(word)
    if size is None:
        raise InputError(
            f"size: {', '.join(SIZES)} wanted, perhaps with numbers "
            f"(district,devices=3000,cameras=40), got {word!r}"
        )
    numbers: dict[str, Any] = {}
    for one in told:
        name, _, number = one.partition("=")
        if name not in _TOLD:
            raise InputError(f"size: {', '.join(_TOLD)} wanted, got {name!r}")
        field, least, most = _TOLD[name]
        if not (number.isascii() and number.isdigit() and least <= int(number) <= most):
            raise InputError(f"size: {name} from {least} to {most} wanted, got {number!r}")
        numbers[field] = float(number) if field == "size_m" else int(number)
    size = size._replace(**numbers)
    if size.aircraft_count < size.dock_count:
        raise InputError(
            f"size: an aircraft for each dock wanted, got {size.aircraft_count} aircraft and "
            f"{size.dock_count} docks"
        )
    return size


class _Stock(NamedTuple):
    """A kind of device: id prefix, share of all, where it stands, who keeps it, its name."""

    prefix: str
    share: float
    site: str
    department: str
    name: str


#: Kinds of fixed and moving devices of a whole city.
STOCK = {
    "water_level": _Stock("water", 0.03, "low", "交通", "积水水位计"),
    "manhole": _Stock("manhole", 0.14, "road", "城管", "井盖"),
    "smoke": _Stock("smoke", 0.12, "home", "社区", "感烟探测器"),
    "gas": _Stock("gas", 0.09, "home", "社区", "可燃气体探测器"),
    "site_air": _Stock("air", 0.02, "site", "住建", "工地扬尘噪声监测点"),
    "parking": _Stock("parking", 0.12, "lane", "社区", "地磁车位"),
    "water_meter": _Stock("meter", 0.15, "home", "社区", "居民远传水表"),
    "pipe_pressure": _Stock("pipe", 0.03, "road", "城管", "供水管网压力计"),
    "leak": _Stock("leak", 0.03, "home", "社区", "管井浸水传感器"),
    "gas_regulator": _Stock("regulator", 0.02, "road", "社区", "燃气调压箱"),
    "heat_substation": _Stock("heat", 0.02, "home", "城管", "供热换热站"),
    "heating": _Stock("radiator", 0.04, "home", "社区", "散热器温控阀"),
    "bus": _Stock("bus", 0.02, "moving", "交通", "公交车"),
    "people_count": _Stock("people", 0.02, "road", "交通", "公交站客流计"),
    "traffic_count": _Stock("loop", 0.02, "road", "交通", "道路线圈"),
    "fill_level": _Stock("bin", 0.04, "road", "城管", "垃圾桶满溢传感器"),
    "button": _Stock("button", 0.02, "home", "社区", "独居老人一键求助"),
    "door": _Stock("door", 0.015, "home", "社区", "配电间门磁"),
    "structure": _Stock("tilt", 0.035, "site", "住建", "基坑测斜仪"),
    "weather": _Stock("weather", 0.005, "road", "城管", "微型气象站"),
    "noise": _Stock("noise", 0.01, "road", "城管", "噪声监测点"),
    "air": _Stock("airbox", 0.01, "road", "城管", "空气质量微站"),
    "street_light": _Stock("light", 0.03, "road", "城管", "智慧路灯"),
    "lift": _Stock("lift", 0.01, "home", "社区", "电梯物联网"),
}

#: What a street camera is for, and its share of all.
CAMERA_ROLES = {
    "pavement": 0.24,
    "road": 0.18,
    "no-parking": 0.14,
    "fire-lane": 0.10,
    "underpass": 0.08,
    "water": 0.07,
    "gate": 0.09,
    "facade": 0.10,
}
_CAMERA_NAMES = {
    "pavement": "人行道球机",
    "road": "道路枪机",
    "no-parking": "禁停路段枪机",
    "fire-lane": "消防通道枪机",
    "underpass": "下穿通道枪机",
    "water": "河道球机",
    "gate": "工地出入口枪机",
    "facade": "高空抛物摄像机",
}

#: Roles whose cameras look along the zones of a kind; the others look along any road.
_ZONE_OF_ROLE = {"road": "carriageway", "fire-lane": "fire_lane", "underpass": "underpass"}

#: A street camera looks at what lies so far ahead of its pole.
WATCHED_AHEAD_M = 20.0

_LETTERS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_ZONE_NAMES = {
    "underpass": "下穿通道",
    "fire_lane": "消防车通道",
    "carriageway": "行车道",
    "site": "工地",
    "water": "河道",
}


def equip(city: City, *, seed: int, size: Size) -> City:
    """The city with as many devices, cameras, docks and aircraft as a size says.

    Args:
        city: A generated city.
        seed: Same city, seed and size, same result, to the byte.
        size: How much is to stand in it.

    Example:
        >>> from geo.generator import generate_city
        >>> city = equip(generate_city(7), seed=7, size=SIZES["district"])
        >>> len(city.cameras), len(city.docks), 400 < len(city.devices) < 500
        (72, 6, True)
    """
    rng = np.random.default_rng([seed, 0xC17])
    ground = _Ground(city, rng, zones=max(3, size.device_count // 70))
    devices = dict(city.devices)
    for kind, stock in STOCK.items():
        have = sum(one.kind == kind for one in devices.values())
        wanted = max(2, round(stock.share * size.device_count))
        where = ground.places(stock.site, max(0, wanted - have))
        for number, at in enumerate(where, have + 1):
            thing_id = f"{stock.prefix}-{number:04d}"
            devices[thing_id] = Device(
                thing_id=thing_id,
                kind=kind,
                lon_deg=None if at is None else at[0],
                lat_deg=None if at is None else at[1],
                name=f"{stock.name}{number}号",
                unit_id=_keeper(city.units, stock.department),
            )
    cameras = _cameras(city, ground, size.camera_count)
    docks = dict(city.docks)
    for number, at in enumerate(ground.places("home", size.dock_count - len(docks)), len(docks)):
        assert at is not None
        dock = Dock(
            dock_sn=f"7CTDM39{number:05d}QD",
            aircraft_sn=f"1581F6Q8D{number:05d}QD1",
            lon_deg=at[0],
            lat_deg=at[1],
            name=f"{number + 1}号无人机机场",
        )
        docks[dock.dock_sn] = dock
    flown = [dock.aircraft_sn for dock in docks.values()]
    others = [serial_number(rng) for _ in range(size.aircraft_count - len(flown))]
    for serial in (*flown, *others):
        devices.setdefault(
            serial,
            Device(
                thing_id=serial,
                kind="aircraft",
                name="登记无人机",
                unit_id=_keeper(city.units, "低空"),
            ),
        )
    for dock in docks.values():
        devices.setdefault(
            dock.dock_sn,
            Device(
                thing_id=dock.dock_sn,
                kind="dock",
                lon_deg=dock.lon_deg,
                lat_deg=dock.lat_deg,
                name=dock.name,
                unit_id=_keeper(city.units, "低空"),
            ),
        )
    layers = dict(city.layers) | {"watched-zones": ground.zone_layer()}
    layers |= register_layers(devices, cameras, docks, generated=True)
    return dataclasses.replace(city, layers=layers, devices=devices, cameras=cameras, docks=docks)


def serial_number(rng: np.random.Generator) -> str:
    """A serial number as aircraft broadcast it (CTA-2063-A: maker, length, serial).

    Example:
        >>> serial_number(np.random.default_rng(1))
        '1668CGHRY14TY8AVE'
    """
    return "1668C" + "".join(_LETTERS[n] for n in rng.integers(0, 34, 12).tolist())


def _keeper(units: tuple[Unit, ...], department: str) -> str | None:
    """The city-wide unit of a department."""
    return next((u.unit_id for u in units if u.department == department and not u.area_code), None)


class _Ground:
    """Hands out places by what they are, and the zones that were made for them."""

    def __init__(self, city: City, rng: np.random.Generator, *, zones: int) -> None:
        self._rng = rng
        self._frame = city.frame
        roads = [
            line
            for layer in city.layers_of(LayerRole.ROAD)
            for line in self._frame.geometry_to_metric(layer.geometries).tolist()
        ]
        #: Straight pieces of road: start, end, shape (n, 2, 2) in metres.
        self._pieces = _straight_pieces(roads)
        homes = [
            self._frame.geometry_to_metric(layer.geometries)
            for layer in city.layers_of(LayerRole.BUILDING)
        ]
        self._homes = shapely.get_coordinates(shapely.centroid(np.concatenate(homes)))
        cells = [
            self._frame.geometry_to_metric(layer.geometries)
            for layer in city.layers_of(LayerRole.GRID)
        ]
        self._cells = np.concatenate(cells)
        self._zones: list[tuple[str, Any]] = []
        self._next_piece = 0
        self._make_zones(zones)

    def places(self, site: str, count: int) -> list[tuple[float, float] | None]:
        """So many places of a sort, in degrees; None for what moves."""
        if count <= 0:
            return []
        if site == "moving":
            return [None] * count
        finders: dict[str, Callable[[int], NDArray[np.float64]]] = {
            "road": self._beside_roads,
            "home": self._at_homes,
            "site": lambda n: self._in_zones("site", n),
            "low": self._low_points,
            "lane": self._in_lanes,
        }
        return self.degrees(finders[site](count))

    def degrees(self, at_m: NDArray[np.float64]) -> list[tuple[float, float] | None]:
        """Metres, shape (n, 2), to degrees."""
        lon, lat = self._frame.to_lonlat(at_m[:, 0], at_m[:, 1])
        return [(round(x, 8), round(y, 8)) for x, y in zip(lon.tolist(), lat.tolist(), strict=True)]

    def piece(self, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Middle, unit vector along and length of a straight piece of road; they go round."""
        start, end = self._pieces[number % len(self._pieces)]
        length = float(np.hypot(*(end - start)))
        return (start + end) / 2, (end - start) / length, length

    def along_strips(self, kind: str, count: int) -> list[tuple[NDArray[np.float64], float]]:
        """Middles of the strips of a kind in turn, and a heading along each."""
        strips = [area for name, area in self._zones if name == kind]
        found = []
        for number in range(count):
            middle, along = _axis(strips[number % len(strips)])
            turn = 180.0 * (number // len(strips) % 2)
            heading = float(np.degrees(np.arctan2(along[0], along[1]))) + turn
            found.append((middle, heading % 360.0))
        return found

    def beside_pieces(self, count: int, aside_m: float) -> list[tuple[NDArray[np.float64], float]]:
        """Places to the right of road pieces that nothing else has used, and their headings."""
        found = []
        for _ in range(count):
            middle, along, _ = self.piece(self._next_piece)
            self._next_piece += 1
            right = np.array([along[1], -along[0]])
            heading = float(np.degrees(np.arctan2(along[0], along[1])))
            found.append((middle + aside_m * right, heading % 360.0))
        return found

    def middles(self, kind: str) -> NDArray[np.float64]:
        """Middles of the zones of a kind, shape (n, 2) in metres."""
        shapes = [area for name, area in self._zones if name == kind]
        return np.asarray(shapely.get_coordinates(shapely.point_on_surface(shapes)))

    def homes(self, count: int) -> NDArray[np.float64]:
        """Middles of buildings, shape (count, 2) in metres."""
        return self._at_homes(count)

    def zone_layer(self) -> Any:
        """The zones as a layer."""
        shapes = np.array([area for _, area in self._zones], dtype=object)
        kinds = [kind for kind, _ in self._zones]
        numbers = [kinds[: n + 1].count(kind) for n, kind in enumerate(kinds)]
        pairs = list(zip(kinds, numbers, strict=True))
        degrees = shapely.transform(
            self._frame.geometry_to_lonlat(shapes), lambda points: points.round(9)
        )
        return build_layer(
            "watched-zones",
            LayerRole.ZONE,
            degrees,
            title=Text("监测区域", "Watched zones"),
            feature_id=[f"watched-{kind.replace('_', '-')}-{n}" for kind, n in pairs],
            name=[f"{_ZONE_NAMES[kind]}监测{n}" for kind, n in pairs],
            kind=kinds,
            generated=True,
        )

    def _make_zones(self, count: int) -> None:
        """Strips of road, spread over the city, then sites in unit grids, and one river."""
        for kind, length, width, aside in (
            ("underpass", 40.0, 14.0, 0.0),
            ("fire_lane", 44.0, 4.0, 4.5),
            ("carriageway", 60.0, 12.0, 0.0),
        ):
            for _ in range(count):
                middle, along, _ = self.piece(self._next_piece)
                self._next_piece += 1
                right = np.array([along[1], -along[0]])
                self._zones.append(
                    (kind, _box(middle + aside * right, along, length, width)),
                )
        whole = np.flatnonzero(shapely.area(self._cells) > 7000.0)
        for cell in self._rng.permutation(whole)[: 2 * count].tolist():
            self._zones.append(("site", self._cells[cell].buffer(-14.0)))
        west, south, east, north = shapely.total_bounds(self._cells)
        self.river = np.array(
            [(west + 0.12 * (east - west), south), (west + 0.2 * (east - west), north)]
        )
        water = shapely.LineString(self.river).buffer(12.0, cap_style="flat")
        self._zones.append(("water", water))

    def _beside_roads(self, count: int) -> NDArray[np.float64]:
        """Spread over all roads, off the centre line, at least some metres apart."""
        lengths = np.hypot(*(self._pieces[:, 1] - self._pieces[:, 0]).T)
        ends = np.cumsum(lengths)
        step = ends[-1] / count
        along = (np.arange(count) + self._rng.uniform(0.2, 0.8, count)) * step
        which = np.minimum(np.searchsorted(ends, along), len(lengths) - 1)
        share = 1.0 - (ends[which] - along) / lengths[which]
        start, end = self._pieces[which, 0], self._pieces[which, 1]
        direction = (end - start) / lengths[which][:, None]
        right = np.column_stack([direction[:, 1], -direction[:, 0]])
        order = self._rng.permutation(count)
        places: NDArray[np.float64] = start + share[:, None] * (end - start) + 3.0 * right
        return places[order]

    def _at_homes(self, count: int) -> NDArray[np.float64]:
        """In buildings, each once until all are used; then others a flat further on."""
        order = np.concatenate(
            [self._rng.permutation(len(self._homes)) for _ in range(count // len(self._homes) + 1)]
        )[:count]
        round_number = np.arange(count) // len(self._homes)
        shift = np.column_stack([6.0 * round_number, -4.0 * round_number])
        return np.asarray(self._homes[order] + shift)

    def _in_zones(self, kind: str, count: int) -> NDArray[np.float64]:
        """Inside the zones of a kind in turn, apart from each other."""
        middles = self.middles(kind)
        turn = np.arange(count) // len(middles)
        angle = 2.4 * turn
        reach = np.where(turn > 0, 9.0 + 2.0 * (turn % 7), 0.0)
        offset = np.column_stack([reach * np.sin(angle), reach * np.cos(angle)])
        return np.asarray(middles[np.arange(count) % len(middles)] + offset)

    def _low_points(self, count: int) -> NDArray[np.float64]:
        """Two gauges in three stand in underpasses, the others in the open."""
        dry = count // 3
        inside = self._in_strips("underpass", count - dry, 9.0)
        return np.concatenate([inside, self._beside_roads(dry)]) if dry else inside

    def _in_lanes(self, count: int) -> NDArray[np.float64]:
        """One bay in two lies in a fire lane, the others are legal bays along roads."""
        bays = self._in_strips("fire_lane", count // 2, 14.0)
        return np.concatenate([bays, self._beside_roads(count - len(bays))])

    def _in_strips(self, kind: str, count: int, apart_m: float) -> NDArray[np.float64]:
        """Inside the strips of a kind in turn: in the middle, then to either side of it."""
        strips = [area for name, area in self._zones if name == kind]
        places = []
        for number in range(count):
            middle, along = _axis(strips[number % len(strips)])
            side = (0.0, -1.0, 1.0)[number // len(strips) % 3]
            places.append(middle + side * apart_m * along)
        return np.array(places).reshape(-1, 2)


def _straight_pieces(roads: list[Any]) -> NDArray[np.float64]:
    """Pieces of road of 60 m and more, shape (n, 2, 2); neighbours are not next to each other."""
    pieces = []
    for line in roads:
        for part in shapely.get_parts(line):
            points = shapely.get_coordinates(part)
            pieces += [np.array(pair) for pair in pairwise(points)]
    long = [one for one in pieces if np.hypot(*(one[1] - one[0])) >= 60.0]
    # A stride that has no factor in common with any count spreads them over the city.
    order = sorted(range(len(long)), key=lambda n: (n * 2_654_435_761) % 2**32)
    return np.array([long[n] for n in order])


def _box(
    middle: NDArray[np.float64], along: NDArray[np.float64], length: float, width: float
) -> Any:
    right = np.array([along[1], -along[0]])
    a, b = along * length / 2, right * width / 2
    return shapely.Polygon([middle - a - b, middle + a - b, middle + a + b, middle - a + b])


def _axis(area: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle of a box and the unit vector along its first side."""
    corners = shapely.get_coordinates(area)
    side = corners[1] - corners[0]
    return corners[:4].mean(axis=0), side / np.hypot(*side)


def _cameras(city: City, ground: _Ground, count: int) -> dict[str, Camera]:
    """Cameras by what they watch; the ones that were there count."""
    cameras = dict(city.cameras)
    left = count - len(cameras)
    roles = list(CAMERA_ROLES)
    shares = np.array([CAMERA_ROLES[role] for role in roles])
    counts = np.floor(shares / shares.sum() * left).astype(int)
    counts[0] += left - int(counts.sum())
    for role, wanted in zip(roles, counts.tolist(), strict=True):
        if role == "gate":
            aims = _around(ground.middles("site"), wanted)
        elif role == "water":
            aims = _along_water(ground, wanted)
        elif role == "facade":
            aims = [(at, 45.0) for at in ground.homes(wanted)]
        elif role in _ZONE_OF_ROLE:
            aims = ground.along_strips(_ZONE_OF_ROLE[role], wanted)
        else:
            aims = ground.beside_pieces(wanted, 9.0 if role == "pavement" else 4.5)
        for number, (aim, heading) in enumerate(aims, 1):
            turn = np.radians(heading)
            pole = aim - WATCHED_AHEAD_M * np.array([np.sin(turn), np.cos(turn)])
            [at] = ground.degrees(pole[None, :])
            assert at is not None
            camera_id = f"cam-{role}-{number:03d}"
            cameras[camera_id] = Camera(
                camera_id=camera_id,
                name=f"{_CAMERA_NAMES[role]}{number}号",
                pose=CameraPose(
                    lon_deg=at[0],
                    lat_deg=at[1],
                    height_agl_m=7.0,
                    yaw_deg=round(heading % 360.0, 3),
                    pitch_deg=-19.0,
                    hfov_deg=70.0,
                    width_px=640,
                    height_px=360,
                ),
            )
    return cameras


def _around(middles: NDArray[np.float64], count: int) -> list[tuple[NDArray[np.float64], float]]:
    """Aims at the edge of places in turn, each from another side."""
    aims = []
    for number in range(count):
        turn = number // len(middles)
        heading = (90.0 * turn + 30.0) % 360.0
        angle = np.radians(heading)
        offset = 26.0 * np.array([np.sin(angle), np.cos(angle)])
        aims.append((middles[number % len(middles)] + offset, heading))
    return aims


def _along_water(ground: _Ground, count: int) -> list[tuple[NDArray[np.float64], float]]:
    """Aims along the middle of the river."""
    start, end = ground.river
    heading = float(np.degrees(np.arctan2(*(end - start))))
    shares = (np.arange(count) + 0.5) / max(1, count)
    return [(start + share * (end - start), heading) for share in shares.tolist()]


__all__ = ["CAMERA_ROLES", "SIZES", "STOCK", "WATCHED_AHEAD_M", "Size", "equip", "serial_number"]
