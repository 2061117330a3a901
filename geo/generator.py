"""Makes a believable district from a seed: the map, what stands in it, and who answers for it.

The same seed gives the same bytes on any machine and Python. All that it makes says
``generated``: the codes look like national ones but belong to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from core.city import Camera, Device, Dock, LayerRole, Unit, Worker
from core.incidents import Text
from geo import names
from geo.crs import MetricFrame
from geo.furnishing import Furnishing, furnish
from geo.grid_codes import community_code, grid_code
from geo.layers import Layer, build_layer
from geo.model import City, register_layers
from geo.street_plan import DEGREES_GRID, StreetPlan, plan_streets

#: Qingdao's 3° Gauss-Krüger zone of CGCS2000, as for the real city.
EPSG = 4549

#: Generated communities are numbered from here, beyond any real one in Qingdao's streets.
FIRST_COMMUNITY = 101

#: A community has about this much ground.
_COMMUNITY_M2 = 335_000.0


@dataclass(frozen=True)
class Street:
    """A street to generate in: its code, its name and its district's."""

    code: str
    name: str
    district_name: str


@dataclass(frozen=True)
class District:
    """What the generator made: layers and registers, to become a city or part of one."""

    layers: dict[str, Layer]
    devices: dict[str, Device]
    cameras: dict[str, Camera]
    docks: dict[str, Dock]
    units: tuple[Unit, ...]
    workers: tuple[Worker, ...]
    survey_spots: dict[str, tuple[float, float]]


def generate_city(
    seed: int = 7,
    *,
    lon_deg: float = 120.3846,
    lat_deg: float = 36.0614,
    size_m: float = 2000.0,
) -> City:
    """Generate a city of one district with three streets.

    Args:
        seed: Same seed, same city, to the byte.
        lon_deg: Its middle, WGS 84 degrees.
        lat_deg: Its middle.
        size_m: Extent east and north; from 1,500 to 6,000 m.

    Example:
        >>> city = generate_city(7)
        >>> len(city.layers["communities"]), len(city.layers["grids"])
        (12, 400)
    """
    rng = np.random.default_rng(seed)
    frame = MetricFrame(EPSG)
    east, north = (float(value) for value in frame.to_metric(lon_deg, lat_deg))
    plan = plan_streets(
        rng,
        frame,
        middle_m=(east, north),
        width_m=size_m,
        height_m=size_m,
        turn_deg=float(rng.uniform(4.0, 9.0)),
    )
    street_names = rng.permutation(np.array(names.STREETS, dtype=object))[:3].tolist()
    streets = [
        Street(f"37020209{number}", name, "市南区") for number, name in enumerate(street_names, 1)
    ]
    made = build_district(rng, frame, plan, streets, admin_layers=True)
    return City(
        name="qingdao",
        title=Text("青岛（模拟城区）", "Qingdao (generated district)"),
        crs_epsg=EPSG,
        layers=made.layers,
        devices=made.devices,
        cameras=made.cameras,
        docks=made.docks,
        units=made.units,
        workers=made.workers,
        survey_spots=made.survey_spots,
    )


def generate_inside(seed: int, frame: MetricFrame, area: Any, street: Street) -> District:
    """Generate roads, communities, grids and all that stands in them inside a real street.

    Args:
        seed: Same seed, same bytes.
        frame: The city's metric frame.
        area: The street's polygon, in degrees.
        street: Its code and names.

    Raises:
        GeometryError: The street is too small or too narrow for a district.
    """
    rng = np.random.default_rng(seed)
    area_m = frame.geometry_to_metric(area)
    west, south, east, north = area_m.bounds
    plan = plan_streets(
        rng,
        frame,
        middle_m=((west + east) / 2, (south + north) / 2),
        width_m=1.1 * (east - west),
        height_m=1.1 * (north - south),
        turn_deg=float(rng.uniform(4.0, 9.0)),
        area=area,
    )
    return build_district(rng, frame, plan, [street], admin_layers=False)


def build_district(
    rng: np.random.Generator,
    frame: MetricFrame,
    plan: StreetPlan,
    streets: list[Street],
    *,
    admin_layers: bool,
) -> District:
    """Divide a plan among streets and communities, number its grids, and furnish it."""
    community_of_cell, street_of_community = _divide(frame, plan, len(streets))
    count = len(street_of_community)
    chosen = rng.permutation(np.array(names.COMMUNITIES, dtype=object))
    community_names = [str(chosen[n % len(chosen)]) for n in range(count)]
    within = [street_of_community[:n].count(street) for n, street in enumerate(street_of_community)]
    community_codes = [
        community_code(streets[street].code, FIRST_COMMUNITY + number)
        for street, number in zip(street_of_community, within, strict=True)
    ]
    communities = [
        shapely.union_all(plan.cells[community_of_cell == n], grid_size=DEGREES_GRID)
        for n in range(count)
    ]
    grid_codes = _grid_codes(community_of_cell, community_codes)

    layers: list[Layer] = []
    if admin_layers:
        layers += _admin_layers(streets, street_of_community, communities)
    layers += [
        build_layer(
            "communities",
            LayerRole.COMMUNITY,
            communities,
            title=Text("社区", "Communities"),
            code=community_codes,
            name=community_names,
            generated=True,
        ),
        build_layer(
            "grids",
            LayerRole.GRID,
            plan.cells,
            title=Text("单元网格", "Unit grids"),
            code=grid_codes,
            name=[
                f"{community_names[n]}{c[-3:]}网格" for n, c in _zip(community_of_cell, grid_codes)
            ],
            generated=True,
        ),
    ]
    road_names = _road_names(rng, plan)
    layers.append(
        build_layer(
            "roads",
            LayerRole.ROAD,
            frame.geometry_to_lonlat(np.array(plan.road_lines, dtype=object)),
            title=Text("道路", "Roads"),
            name=road_names,
            kind=plan.road_kinds,
            generated=True,
        )
    )
    furnishing = furnish(
        rng, frame, plan, road_names, [community_names[n] for n in community_of_cell]
    )
    layers += furnishing.layers
    units = _units(streets)
    devices = _with_units(furnishing, grid_codes, units)
    by_id = {layer.id: layer for layer in layers}
    by_id |= register_layers(devices, furnishing.cameras, furnishing.docks, generated=True)
    return District(
        layers=by_id,
        devices=devices,
        cameras=furnishing.cameras,
        docks=furnishing.docks,
        units=units,
        workers=_workers(rng, plan, frame, community_of_cell, community_codes),
        survey_spots=furnishing.survey_spots,
    )


def _zip(first: NDArray[np.int64], second: list[str]) -> list[tuple[int, str]]:
    return list(zip(first.tolist(), second, strict=True))


def _divide(
    frame: MetricFrame, plan: StreetPlan, streets: int
) -> tuple[NDArray[np.int64], list[int]]:
    """Deal blocks, in their order, to communities of about equal ground, and those to streets."""
    sizes = shapely.area(frame.geometry_to_metric(plan.cells))
    blocks = np.unique(plan.cell_block)
    ground = np.array([sizes[plan.cell_block == block].sum() for block in blocks])
    count = max(3 * streets, round(float(ground.sum()) / _COMMUNITY_M2))
    count -= count % streets
    middles = np.cumsum(ground) - ground / 2
    community_of_block = np.minimum((middles / ground.sum() * count).astype(np.int64), count - 1)
    used, community_of_block = np.unique(community_of_block, return_inverse=True)
    community_of_cell = community_of_block[np.searchsorted(blocks, plan.cell_block)]
    street_of_community = [n * streets // len(used) for n in range(len(used))]
    return community_of_cell, street_of_community


def _grid_codes(community_of_cell: NDArray[np.int64], community_codes: list[str]) -> list[str]:
    last = [0] * len(community_codes)
    codes = []
    for community in community_of_cell.tolist():
        last[community] += 1
        codes.append(grid_code(community_codes[community], last[community]))
    return codes


def _admin_layers(
    streets: list[Street], street_of_community: list[int], communities: list[Any]
) -> list[Layer]:
    shapes = [
        shapely.union_all(
            [communities[n] for n, street in enumerate(street_of_community) if street == number],
            grid_size=DEGREES_GRID,
        )
        for number in range(len(streets))
    ]
    return [
        build_layer(
            "districts",
            LayerRole.DISTRICT,
            [shapely.union_all(shapes, grid_size=DEGREES_GRID)],
            title=Text("区市", "Districts"),
            code=[streets[0].code[:6]],
            name=[streets[0].district_name],
            generated=True,
        ),
        build_layer(
            "streets",
            LayerRole.STREET,
            shapes,
            title=Text("街道", "Streets"),
            code=[street.code for street in streets],
            name=[street.name for street in streets],
            generated=True,
        ),
    ]


def _road_names(rng: np.random.Generator, plan: StreetPlan) -> list[str]:
    chosen = rng.permutation(np.array(names.ROADS, dtype=object))
    return [
        f"{chosen[n % len(chosen)]}{'中路' if kind == 'primary' else '路'}"
        for n, kind in enumerate(plan.road_kinds)
    ]


def _units(streets: list[Street]) -> tuple[Unit, ...]:
    """A team per street where the work is daily, one for the city where it is not."""
    units = [
        Unit(unit_id=f"{word}-0", name=name, department=department, area_code="")
        for department, word, name in (
            ("城管", "urban", "青岛市综合行政执法支队"),
            ("交通", "traffic", "青岛市交警支队"),
            ("住建", "works", "青岛市住房和城乡建设局"),
            ("社区", "community", "青岛市社区治理服务中心"),
            ("低空", "airspace", "青岛市低空飞行服务站"),
        )
    ]
    for street in streets:
        units += [
            Unit(
                unit_id=f"{word}-{street.code}",
                name=f"{street.name}{name}",
                department=department,
                area_code=street.code,
            )
            for department, word, name in (
                ("城管", "urban", "综合行政执法中队"),
                ("交通", "traffic", "交警中队"),
                ("社区", "community", "网格管理中心"),
            )
        ]
    return tuple(units)


#: Department that keeps each kind of device.
_KEEPERS = {
    "water_level": "交通",
    "manhole": "城管",
    "smoke": "社区",
    "gas": "社区",
    "site_air": "住建",
    "parking": "社区",
    "aircraft": "低空",
    "dock": "低空",
}


def _with_units(
    furnishing: Furnishing, grid_codes: list[str], units: tuple[Unit, ...]
) -> dict[str, Device]:
    devices = {}
    for device, cell in furnishing.devices:
        department = _KEEPERS[device.kind]
        area = "" if cell is None else grid_codes[cell]
        keeper = max(
            (u for u in units if u.department == department and area.startswith(u.area_code)),
            key=lambda unit: len(unit.area_code),
        )
        devices[device.thing_id] = Device(
            thing_id=device.thing_id,
            kind=device.kind,
            lon_deg=device.lon_deg,
            lat_deg=device.lat_deg,
            name=device.name,
            unit_id=keeper.unit_id,
        )
    return devices


def _workers(
    rng: np.random.Generator,
    plan: StreetPlan,
    frame: MetricFrame,
    community_of_cell: NDArray[np.int64],
    community_codes: list[str],
) -> tuple[Worker, ...]:
    """One or two grid workers a community, each standing somewhere in it."""
    people = names.person_names(rng, 2 * len(community_codes))
    workers = []
    for number, code in enumerate(community_codes):
        cells = np.flatnonzero((community_of_cell == number) & plan.whole)
        if len(cells) == 0:
            cells = np.flatnonzero(community_of_cell == number)
        for turn in range(1 + number % 2):
            cell = int(cells[(len(cells) // 2 + 5 * turn) % len(cells)])
            point = shapely.point_on_surface(plan.cells[cell])
            workers.append(
                Worker(
                    worker_id=f"worker-{code}-{turn + 1}",
                    name=people[2 * number + turn],
                    area_code=code,
                    lon_deg=round(point.x, 7),
                    lat_deg=round(point.y, 7),
                )
            )
    return tuple(workers)
