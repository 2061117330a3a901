"""The model of a city: its map layers, the things that stand in it, who answers for what."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import shapely

from core.city import Camera, Device, Dock, LayerRole, Unit, Worker
from core.errors import LayerError
from core.incidents import Text
from geo.crs import MetricFrame
from geo.layers import Layer, build_layer


@dataclass(frozen=True, eq=False)
class City:
    """Everything the platform knows of a city before anything happens in it.

    Attributes:
        name: Short machine name; the city level of MQTT topics.
        title: For people.
        crs_epsg: The one projected CRS in which metres are measured.
        layers: By id; order is the order of the profile.
        devices: Fixed sensors and registered aircraft, by thing id.
        cameras: By camera id.
        docks: By serial number.
        units: Who answers for what and where.
        workers: Grid workers and their areas.
        survey_spots: Where a dock's aircraft is meant to look, (lon, lat) by the dock's serial.
        old_codes: Area codes of former years, as :mod:`geo.code_changes` has them.
    """

    name: str
    title: Text
    crs_epsg: int
    layers: dict[str, Layer] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    cameras: dict[str, Camera] = field(default_factory=dict)
    docks: dict[str, Dock] = field(default_factory=dict)
    units: tuple[Unit, ...] = ()
    workers: tuple[Worker, ...] = ()
    survey_spots: dict[str, tuple[float, float]] = field(default_factory=dict)
    old_codes: dict[str, str] = field(default_factory=dict)

    def layers_of(self, role: LayerRole) -> list[Layer]:
        """The layers of a role, in the order of the profile."""
        return [layer for layer in self.layers.values() if layer.role is role]

    @cached_property
    def frame(self) -> MetricFrame:
        """The plane in which metres are measured."""
        return MetricFrame(self.crs_epsg)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of all layers, in degrees.

        Raises:
            LayerError: The city has no feature at all.
        """
        boxes = [layer.frame.total_bounds for layer in self.layers.values() if len(layer)]
        if not boxes:
            raise LayerError(f"city {self.name}: no layer has a feature, so it has no bounds")
        west, south, east, north = zip(*boxes, strict=True)
        return float(min(west)), float(min(south)), float(max(east)), float(max(north))


def register_layers(
    devices: dict[str, Device], cameras: dict[str, Camera], docks: dict[str, Dock], generated: bool
) -> dict[str, Layer]:
    """The registers as layers of points, for maps; things without a position are left out."""
    standing = [one for one in devices.values() if one.lon_deg is not None]
    fixed = [(one, one.pose) for one in cameras.values() if one.pose is not None]
    layers = [
        build_layer(
            "devices",
            LayerRole.DEVICE,
            [shapely.Point(one.lon_deg, one.lat_deg) for one in standing],
            title=Text("感知设备", "Devices"),
            feature_id=[one.thing_id for one in standing],
            name=[one.name for one in standing],
            kind=[one.kind for one in standing],
            generated=generated,
        ),
        build_layer(
            "cameras",
            LayerRole.CAMERA,
            [shapely.Point(pose.lon_deg, pose.lat_deg) for _, pose in fixed],
            title=Text("视频点位", "Cameras"),
            feature_id=[one.camera_id for one, _ in fixed],
            name=[one.name for one, _ in fixed],
            kind=["fixed" for _ in fixed],
            generated=generated,
        ),
        build_layer(
            "docks",
            LayerRole.DOCK,
            [shapely.Point(one.lon_deg, one.lat_deg) for one in docks.values()],
            title=Text("无人机机场", "Drone docks"),
            feature_id=list(docks),
            name=[one.name for one in docks.values()],
            kind=["dock"] * len(docks),
            generated=generated,
        ),
    ]
    return {layer.id: layer for layer in layers if len(layer)}
