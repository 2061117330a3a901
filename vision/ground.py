"""The ground of a view through the camera's pose; geo does the geometry."""

from __future__ import annotations

from core.city import CameraPose
from core.ports import GroundPoints, GroundProjector
from vision.boxes import Floats
from vision.zones import Local

#: Looking down more steeply than this, a thing stands at the middle of its box, not its foot.
_STEEP_DEG = -60.0


class PoseGround:
    """A projector and the pose of one picture; a :class:`core.ports.Ground`."""

    def __init__(self, projector: GroundProjector, pose: CameraPose) -> None:
        self.from_above = pose.pitch_deg <= _STEEP_DEG
        self._projector = projector
        self._pose = pose
        self._nadir = Local(pose.lon_deg, pose.lat_deg)

    def metres(self, pixels: Floats) -> Floats:
        """Pixels (n, 2) as metres east and north of the camera's foot."""
        points = self._projector.to_ground(pixels, self._pose)
        return self._nadir.to_metres(points.lon_deg, points.lat_deg)

    def points(self, pixels: Floats) -> GroundPoints | None:
        """Pixels (n, 2) in degrees with their error."""
        return self._projector.to_ground(pixels, self._pose)
