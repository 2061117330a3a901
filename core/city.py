"""Words for what stands in a city: roles of map layers, devices, cameras, units, workers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from core.grades import INTERNAL, PUBLIC, SENSITIVE


class LayerRole(StrEnum):
    """What a layer is to the platform, whatever its file is called."""

    DISTRICT = "district"
    STREET = "street"
    COMMUNITY = "community"
    GRID = "grid"  # 单元网格
    ROAD = "road"
    BUILDING = "building"
    COMPONENT = "component"  # 部件: manholes, lamps, bins; with the unit that answers for each
    SITE = "site"  # building sites, markets, squares: grounds with an operator
    COVERAGE = "coverage"  # what a camera sees
    ZONE = "zone"  # ground areas with a purpose; the kind says which, see ZONE_KINDS
    AIRSPACE = "airspace"  # volumes with floor and ceiling
    DEVICE = "device"  # fixed sensors and registered aircraft
    CAMERA = "camera"
    DOCK = "dock"
    CUSTOM = "custom"


#: Kinds of zone the shipped rules speak of; a city may name others.
ZONE_KINDS = ("no_parking", "fire_lane", "pavement", "underpass", "site", "square")


class AltitudeDatum(StrEnum):
    """What an altitude is measured from."""

    WGS84 = "wgs84"
    MSL = "msl"
    TAKEOFF = "takeoff"
    AGL = "agl"


class CameraPose(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a camera is and where it looks.

    ``height_agl_m`` is the camera's height above the ground it looks at. Angles in degrees:
    yaw clockwise from true north, pitch 0 level and -90 straight down, roll clockwise.
    ``hfov_deg`` is the horizontal field of view. Sigmas are one standard deviation.
    """

    lon_deg: float
    lat_deg: float
    height_agl_m: float
    yaw_deg: float
    pitch_deg: float
    hfov_deg: float
    width_px: int
    height_px: int
    roll_deg: float = 0.0
    position_sigma_m: float = 0.5
    angle_sigma_deg: float = 0.3


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A registered thing: a fixed sensor, or an aircraft (then without a position)."""

    thing_id: Annotated[str, INTERNAL]
    kind: Annotated[str, PUBLIC]
    lon_deg: Annotated[float | None, INTERNAL] = None
    lat_deg: Annotated[float | None, INTERNAL] = None
    name: Annotated[str, PUBLIC] = ""
    unit_id: Annotated[str | None, PUBLIC] = None


class Camera(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A camera; ``pose`` is None for one that flies, whose frames carry it."""

    camera_id: Annotated[str, INTERNAL]
    name: Annotated[str, PUBLIC] = ""
    pose: Annotated[CameraPose | None, INTERNAL] = None


class Dock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An unattended drone dock and the aircraft that lives in it."""

    dock_sn: Annotated[str, INTERNAL]
    aircraft_sn: Annotated[str, INTERNAL]
    lon_deg: Annotated[float, INTERNAL]
    lat_deg: Annotated[float, INTERNAL]
    name: Annotated[str, PUBLIC] = ""


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A responsible unit: a department's team for an area."""

    unit_id: Annotated[str, PUBLIC]
    name: Annotated[str, PUBLIC]
    department: Annotated[str, PUBLIC]
    area_code: Annotated[str, PUBLIC]  #: prefix of the area codes it answers for; "" is the city


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A grid worker 网格员 and the area they walk."""

    worker_id: Annotated[str, INTERNAL]
    name: Annotated[str, SENSITIVE]
    area_code: Annotated[str, PUBLIC]
    lon_deg: Annotated[float, SENSITIVE]
    lat_deg: Annotated[float, SENSITIVE]
