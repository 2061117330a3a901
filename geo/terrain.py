"""The height of the ground, and where a camera's rays meet it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.city import CameraPose
from core.errors import GeometryError
from core.ports import GroundPoints
from geo.camera import FlatGroundProjector, error_ellipse, lonlat_to_offset, offset_to_lonlat
from geo.crs import convert_points

#: Rays are followed this far; what lies further is not seen.
MAX_RANGE_M = 5_000.0

#: Steps of the search along a ray, then halvings within the step that meets the ground.
_STEPS = 400
_HALVINGS = 24


@dataclass(frozen=True)
class Terrain:
    """Heights of the ground on a grid.

    Attributes:
        heights_m: Shape (rows, columns), metres above a level surface; NaN where unknown.
        crs: What the grid is in, e.g. ``EPSG:4326`` or ``EPSG:4549``.
        origin: (x, y) of the outer corner of the first cell: the west and north edges.
        cell: (width, height) of a cell, both positive; rows go south.
        sigma_m: One-sigma error of a height.
    """

    heights_m: NDArray[np.float64] = field(repr=False)
    crs: str
    origin: tuple[float, float]
    cell: tuple[float, float]
    sigma_m: float = 2.0

    def height(
        self, lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Height of the ground at positions, between cells linearly.

        Args:
            lon_deg: WGS 84 degrees, any shape.
            lat_deg: The same shape.

        Returns:
            Metres, the same shape; NaN outside the grid and where the grid is unknown.

        Example:
            >>> heights = np.array([[0.0, 10.0], [0.0, 10.0]])
            >>> slope = Terrain(heights, "EPSG:4326", (120, 37), (1, 1))
            >>> slope.height(np.array([120.5, 121.0, 125.0]), np.full(3, 36.0)).tolist()
            [0.0, 5.0, nan]
        """
        x, y = convert_points(lon_deg, lat_deg, "EPSG:4326", self.crs)
        column = (x - self.origin[0]) / self.cell[0] - 0.5
        row = (self.origin[1] - y) / self.cell[1] - 0.5
        rows, columns = self.heights_m.shape
        inside = (column >= -0.5) & (column <= columns - 0.5) & (row >= -0.5) & (row <= rows - 0.5)
        column = np.clip(np.where(inside, column, 0.0), 0.0, columns - 1.0)
        row = np.clip(np.where(inside, row, 0.0), 0.0, rows - 1.0)
        left, top = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
        right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
        across, down = column - left, row - top
        grid = self.heights_m
        upper = grid[top, left] * (1.0 - across) + grid[top, right] * across
        lower = grid[bottom, left] * (1.0 - across) + grid[bottom, right] * across
        return np.where(inside, upper * (1.0 - down) + lower * down, np.nan)


def load_terrain(path: Path, *, sigma_m: float = 2.0) -> Terrain:
    """Read a raster of heights: GeoTIFF and whatever GDAL reads.

    Args:
        path: The file; its first band is the height in metres.
        sigma_m: One-sigma error of a height.

    Raises:
        GeometryError: It cannot be read, has no CRS, or is turned against its axes; names it.
    """
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as file:
            if file.crs is None or file.crs.to_epsg() is None:
                raise GeometryError(f"{path}: a raster with a CRS of an EPSG code was wanted")
            turn = file.transform
            if turn.b or turn.d or turn.a <= 0.0 or turn.e >= 0.0:
                raise GeometryError(f"{path}: a raster with rows going south was wanted")
            heights = file.read(1, masked=True).astype(np.float64).filled(np.nan)
            return Terrain(
                heights,
                f"EPSG:{file.crs.to_epsg()}",
                (turn.c, turn.f),
                (turn.a, -turn.e),
                sigma_m,
            )
    except RasterioError as exc:
        raise GeometryError(f"{path}: cannot be read as heights of the ground: {exc}") from exc


class TerrainProjector:
    """Puts pixels on ground that rises and falls; a :class:`core.ports.GroundProjector`.

    Args:
        terrain: Heights of the ground.
        flat: The lens and the pixel's error.

    Example:
        >>> level = Terrain(np.zeros((2, 2)), "EPSG:4326", (120.3, 36.1), (0.1, 0.1))
        >>> pose = CameraPose(lon_deg=120.3846, lat_deg=36.0614, height_agl_m=100.0,
        ...                   yaw_deg=30.0, pitch_deg=-45.0, hfov_deg=73.7,
        ...                   width_px=1920, height_px=1080)
        >>> points = TerrainProjector(level).to_ground(np.array([[1200.0, 700.0]]), pose)
        >>> points.lat_deg.round(6).tolist()
        [36.061901]

    Source:
        Ray marching with bisection; where a hill hides what is behind it, the hill is hit.
    """

    def __init__(self, terrain: Terrain, flat: FlatGroundProjector | None = None) -> None:
        self.terrain = terrain
        self.flat = flat or FlatGroundProjector()

    def to_ground(self, pixels: NDArray[np.float64], pose: CameraPose) -> GroundPoints:
        """Put pixels on the ground.

        Args:
            pixels: Shape (n, 2), (u, v) in the picture.
            pose: Where the camera is and looks; its height is above the ground at its foot.

        Returns:
            Ground points with one-sigma error ellipses that include the error of the terrain;
            NaN where the ray is too flat, leaves the grid, or meets nothing within 5 km.

        Raises:
            GeometryError: The pixels have another shape, the pose cannot be, or the grid does
                not hold the camera's foot.
        """
        rays, seen = self.flat.rays(pixels, pose)
        unit = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        distance = self._meeting(unit, pose, self._foot_m(pose) + pose.height_agl_m)
        height = distance * unit[:, 2]
        seen = seen & np.isfinite(height)
        north, east, covariance, _ = self.flat.project(
            pixels, pose, np.where(seen, height, np.nan), self.terrain.sigma_m
        )
        lon, lat = offset_to_lonlat(north, east, (pose.lon_deg, pose.lat_deg))
        with np.errstate(invalid="ignore"):
            major, minor, azimuth = error_ellipse(covariance)
        for column in (lon, lat, major, minor, azimuth):
            column[~seen] = np.nan
        return GroundPoints(lon, lat, major, minor, azimuth, seen)

    def to_pixels(
        self, lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64], pose: CameraPose
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Ground points as pixels, and whether each lies before the camera.

        A hill between the camera and a point is not looked for.

        Args:
            lon_deg: WGS 84 degrees, shape (n,), of points on the terrain.
            lat_deg: Likewise.
            pose: Where the camera is and looks; its height is above the ground at its foot.

        Returns:
            Pixels, shape (n, 2), NaN where the mask (shape (n,)) is False, as it is off the grid.
        """
        lon = np.atleast_1d(np.asarray(lon_deg, dtype=np.float64))
        lat = np.atleast_1d(np.asarray(lat_deg, dtype=np.float64))
        foot = (pose.lon_deg, pose.lat_deg)
        north, east = lonlat_to_offset(lon, lat, foot)
        down = self._foot_m(pose) + pose.height_agl_m - self.terrain.height(lon, lat)
        return self.flat.seen_along(np.column_stack([north, east, down]), pose)

    def _foot_m(self, pose: CameraPose) -> float:
        """Height of the ground under the camera."""
        foot = float(self.terrain.height(np.array([pose.lon_deg]), np.array([pose.lat_deg]))[0])
        if np.isnan(foot):
            raise GeometryError(
                f"terrain: the height under the camera at {pose.lon_deg}, {pose.lat_deg} was "
                "wanted, the grid does not have it"
            )
        return foot

    def _meeting(
        self, unit: NDArray[np.float64], pose: CameraPose, altitude_m: float
    ) -> NDArray[np.float64]:
        """Distance at which each ray first goes under the ground; NaN where it does not."""
        # Steps grow with the distance, as the ground that a pixel covers does.
        steps = MAX_RANGE_M * (np.arange(1, _STEPS + 1) / _STEPS) ** 1.5
        before = np.zeros(len(unit))
        met = np.full(len(unit), np.nan)
        waiting = np.flatnonzero(np.isfinite(unit).all(axis=1))
        for step in steps:
            if not len(waiting):
                break
            above = self._above(unit[waiting], np.full(len(waiting), step), pose, altitude_m)
            met[waiting[above <= 0.0]] = step
            before[waiting[above > 0.0]] = step
            waiting = waiting[above > 0.0]  # NaN, off the grid, is given up
        rows = np.flatnonzero(np.isfinite(met))
        low, high = before[rows], met[rows]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            under = self._above(unit[rows], middle, pose, altitude_m) <= 0.0
            high, low = np.where(under, middle, high), np.where(under, low, middle)
        met[rows] = high
        return met

    def _above(
        self,
        unit: NDArray[np.float64],
        distance_m: NDArray[np.float64],
        pose: CameraPose,
        altitude_m: float,
    ) -> NDArray[np.float64]:
        """How far points along rays are above the ground."""
        along = unit * distance_m[:, None]
        lon, lat = offset_to_lonlat(along[:, 0], along[:, 1], (pose.lon_deg, pose.lat_deg))
        return np.asarray(altitude_m - along[:, 2] - self.terrain.height(lon, lat))
