"""What camera.yaml says of the ground, as the geometry that geo has for it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from core.ports import Ground, GroundProjector
from geo.camera import FlatGroundProjector, lonlat_to_offset
from geo.fixed_ground import FixedGround, Plane
from geo.homography import Homography, fit_homography
from geo.lens import Lens
from geo.terrain import TerrainProjector, load_terrain
from geo.tsai import read_tsai
from vision.camera_file import CameraFile, GroundSpec
from vision.watch import CameraWatch

#: One-sigma error of the foot of a box that a detector of moving pixels gives.
_PIXEL_SIGMA_PX = 2.0


def projector_of(camera: CameraFile) -> GroundProjector:
    """The way from pixels to ground through a pose: with its lens, on its terrain.

    Raises:
        GeometryError: The terrain cannot be read.
    """
    flat = FlatGroundProjector(lens=_lens(camera))
    if camera.terrain is None:
        return flat
    return TerrainProjector(load_terrain(Path(camera.terrain)), flat)


def fixed_ground_of(camera: CameraFile) -> Ground | None:
    """The ground of a camera that was measured; None where its file has no ``ground``.

    Raises:
        GeometryError: No plane goes through the points, or the calibration cannot be read.

    Example:
        >>> from vision.camera_file import parse_camera_file
        >>> fixed_ground_of(parse_camera_file("id: gate", "c.yaml")) is None
        True
    """
    spec = camera.ground
    if spec is None:
        return None
    origin = spec.origin
    if origin is None:
        origin = next((one.lonlat for one in spec.points if one.lonlat is not None), None)
    return FixedGround(_plane(spec, origin, _lens(camera)), origin, from_above=spec.from_above)


def watch_of(camera: CameraFile) -> CameraWatch:
    """A watch over a camera, with all that its file says of the ground.

    Raises:
        GeometryError: No ground can be made of that.
        CameraFileError: A picture that the file names cannot be read.
    """
    return CameraWatch(camera, projector_of(camera), fixed_ground_of(camera))


def _plane(spec: GroundSpec, origin: tuple[float, float] | None, lens: Lens | None) -> Plane:
    if spec.tsai is not None:
        return read_tsai(Path(spec.tsai))
    if spec.matrix is not None:
        return Homography(np.array(spec.matrix), lens, pixel_sigma_px=_PIXEL_SIGMA_PX)
    places = []
    for point in spec.points:
        if point.metres is not None:
            places.append(point.metres)
            continue
        assert point.lonlat is not None
        assert origin is not None
        lon, lat = np.array(point.lonlat)[:, None]
        north, east = lonlat_to_offset(lon, lat, origin)
        places.append((float(east[0]), float(north[0])))
    pixels = np.array([point.pixel for point in spec.points], np.float64)
    return fit_homography(pixels, np.array(places), lens=lens, pixel_sigma_px=_PIXEL_SIGMA_PX)


def _lens(camera: CameraFile) -> Lens | None:
    return None if camera.lens is None else Lens(**msgspec.structs.asdict(camera.lens))
