"""``qingniao vision changes``: what differs between two flights over one place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from core.errors import InputError
from core.ports import Ground
from ingest.video.camera_ground import fixed_ground_of, projector_of
from vision.camera_file import CameraFile, read_camera_file
from vision.detections import Image
from vision.detectors.two_flights import GROUND_CHANGE, Changes, find_changes
from vision.ground import PoseGround

_RED = (40, 40, 230)


def changes(
    before: Annotated[Path, typer.Argument(help="Picture of the first flight.")],
    after: Annotated[Path, typer.Argument(help="Picture of the second flight, same place.")],
    camera: Annotated[
        Path | None,
        typer.Option(help="camera.yaml of the second picture: pose or ground, for areas in m²."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="GeoJSON of the changed regions; needs known ground.")
    ] = None,
    show: Annotated[
        Path | None, typer.Option(help="The second picture with the regions drawn in.")
    ] = None,
    least_m2: Annotated[float, typer.Option(min=0.0, help="Leave out smaller regions.")] = 4.0,
) -> None:
    """变化检测 Find what has changed on the ground between two pictures from above."""
    pictures = [_read(path) for path in (before, after)]
    settings = None if camera is None else read_camera_file(camera)
    ground = None if settings is None else _ground(settings, pictures[1])
    found = find_changes(pictures[0], pictures[1], ground, least_m2=least_m2)
    if out is not None:
        out.write_text(json.dumps(geojson(found), ensure_ascii=False), "utf-8")
    if show is not None:
        lines = [np.rint(one.polygon_px).astype(np.int32) for one in found.regions]
        drawn = cv2.polylines(pictures[1].copy(), lines, True, _RED, 2, cv2.LINE_AA)
        if not cv2.imwrite(str(show), drawn):
            raise InputError(f"{show}: cannot be written as a picture; name a .jpg or .png file")
    _report(found)


def geojson(found: Changes) -> dict[str, Any]:
    """The regions whose place is known as a feature collection (RFC 7946, WGS 84)."""
    registration = found.registration
    features = []
    for one in found.regions:
        if one.lonlat_deg is None:
            continue
        ring = [[round(lon, 8), round(lat, 8)] for lon, lat in one.lonlat_deg.tolist()]
        if _clockwise(ring):
            ring.reverse()
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {
                    "kind": GROUND_CHANGE,
                    "area_m2": round(one.area_m2, 2),
                    "difference": round(one.difference, 1),
                    "inlier_ratio": round(registration.inlier_ratio, 3),
                    "correlation": round(registration.correlation, 3),
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def _clockwise(ring: list[list[float]]) -> bool:
    """Whether a ring runs the wrong way round for GeoJSON."""
    points = np.array(ring) - np.mean(ring, axis=0)
    after = np.roll(points, -1, axis=0)
    return bool((points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]).sum() < 0.0)


def _read(path: Path) -> Image:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read: {exc}") from exc
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if picture is None:
        raise InputError(f"{path}: {len(data)} bytes are no picture that can be decoded")
    return np.asarray(picture, np.uint8)


def _ground(camera: CameraFile, picture: Image) -> Ground | None:
    """Where the pixels of the second picture lie."""
    size = (picture.shape[1], picture.shape[0])
    if camera.size_px is not None and camera.size_px != size:
        raise InputError(
            f"camera {camera.id!r}: size_px is {list(camera.size_px)}, the second picture "
            f"is {list(size)}; give a camera file for this picture"
        )
    if camera.ground is not None:
        return fixed_ground_of(camera)
    if camera.pose is None:
        return None
    pose = msgspec.structs.replace(camera.pose, width_px=size[0], height_px=size[1])
    return PoseGround(projector_of(camera), pose)


def _report(found: Changes) -> None:
    one = found.registration
    table = Table("变化 change", "m²", "px", "灰度差 difference")
    for number, region in enumerate(found.regions, 1):
        area = "" if np.isnan(region.area_m2) else f"{region.area_m2:.1f}"
        table.add_row(str(number), area, f"{region.area_px:.0f}", f"{region.difference:.0f}")
    console = Console()
    console.print(table)
    console.print(
        f"配准 registration: {one.inliers} of {one.matches} features agree "
        f"({one.inlier_ratio:.0%}), residual {one.residual_px:.2f} px, correlation "
        f"{one.correlation:.2f}; overlap {found.overlap_ratio:.0%}",
        highlight=False,
    )
