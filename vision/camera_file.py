"""camera.yaml: what a camera looks at and what is to be noticed there.

Pixels count from the top left of a picture of ``size_px``, u to the right and v down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from core.city import CameraPose
from core.errors import InputError
from core.strict_yaml import read_struct
from core.units import rfc3339_to_ns

Positive = Annotated[float, msgspec.Meta(gt=0.0)]
Pixel = tuple[float, float]


class CameraFileError(InputError):
    """A camera file that is refused."""


class KnownPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point of the ground that was measured: its pixel, and its place.

    ``lonlat`` in WGS 84 degrees, or ``metres`` east and north of ``ground.origin``.
    """

    pixel: Pixel
    lonlat: tuple[float, float] | None = None
    metres: tuple[float, float] | None = None


class LensSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lens that bends straight lines: Brown's model with OpenCV's numbers, in pixels."""

    fx_px: Positive
    fy_px: Positive
    cx_px: float
    cy_px: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0


Row = tuple[float, float, float]


class GroundSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Flat ground: from at least four known points, a matrix, or a published calibration."""

    points: tuple[KnownPoint, ...] = ()
    matrix: tuple[Row, Row, Row] | None = None  #: takes (u, v, 1) to (east, north, 1) metres
    tsai: str | None = None  #: Tsai calibration in XML, relative to this file
    origin: tuple[float, float] | None = None  #: lon, lat of metres (0, 0)
    from_above: bool = False  #: looks straight down: things stand at the middle of their box


class ZoneSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An area in the picture.

    ``flow_px`` is an arrow (from, to) along which traffic goes: what drives against it is
    going the wrong way.
    """

    id: str
    kind: str
    polygon_px: tuple[Pixel, ...]
    flow_px: tuple[Pixel, Pixel] | None = None


class LineSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line to count at. *In* is from its left to its right, seen from its start."""

    id: str
    from_px: Pixel
    to_px: Pixel


class Unblurred(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Leave to store pictures of people as they are: why, and until when (RFC 3339)."""

    reason: Annotated[str, msgspec.Meta(min_length=8)]
    until: str


class MovingSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What moves."""

    min_area_px: Positive = 60.0  #: of a picture 480 wide; smaller things are noise
    min_size_m: float = 0.3  #: longer side; needs pose or ground
    stopped_s: Positive = 15.0  #: shorter: a car that lets somebody out is reported
    stopped_mps: Positive = 0.5
    slow_mps: Positive = 3.0
    wrong_way_s: Positive = 2.0  #: shorter: a car that backs into a bay is reported
    count_every_s: Positive = 10.0
    crowd_per_m2: Positive = 2.0  #: people a square metre that make a crowd


class StaticSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was left, or has stopped."""

    new_after_s: Positive = 20.0
    gone_after_s: Positive = 10.0
    min_size_m: float = 0.25
    min_area_px: Positive = 40.0


class FireSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Flame and smoke."""

    flame_after_s: Positive = 2.0
    smoke_after_s: Positive = 4.0
    min_area_ratio: Positive = 0.0004  #: of the picture


class OnnxSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trained model. ``classes``: its class numbers or names, and what we call them."""

    model: str  #: ONNX file, relative to this file
    classes: dict[int | str, str]  #: those left out are not told of
    score_ratio: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.4
    iou_ratio: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.5  #: more overlap: one thing
    every_s: Positive = 0.2
    new_after_s: Positive = 1.0
    gone_after_s: Positive = 3.0


class FallingSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What falls down a façade. The reference is a line up it, and its length."""

    reference_px: tuple[Pixel, Pixel]
    reference_m: Positive
    min_height_m: Positive = 3.0
    min_area_px: Annotated[int, msgspec.Meta(ge=1)] = 3  #: of the analysis picture
    most_size_m: Positive = 1.5
    least_difference: Positive = 14.0  #: grey values


class FromAboveSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bare soil, covered ground and green, by colour; for daylight."""

    every_s: Positive = 60.0
    platform: Literal["aircraft", "fixed"] = "aircraft"
    least_exg: Positive = 0.08  #: excess green of plants
    least_warmth: Positive = 0.08  #: (R-B)/(R+B) of soil
    least_seen_ratio: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.6


class WaterSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Standing water. Without a dry picture the first five are taken to be dry."""

    dry_picture: str | None = None  #: relative to this file
    sample_s: Positive = 2.0  #: the median of five pictures is looked at
    min_area_m2: Positive = 2.0
    min_area_px: Annotated[int, msgspec.Meta(ge=1)] = 200  #: of the analysis picture
    new_after_s: Positive = 10.0
    gone_after_s: Positive = 30.0
    update_every_s: Positive = 60.0


class GaugeMark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point of a gauge whose level was measured."""

    pixel: Pixel
    level_m: float


class GaugeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line up a wall or staff, from its lowest mark to its highest."""

    id: str
    marks: tuple[GaugeMark, ...]
    dry_picture: str | None = None  #: relative to this file
    width_px: Annotated[float, msgspec.Meta(ge=3.0, le=200.0)] = 15.0  #: of the full picture
    every_s: Positive = 60.0


class DetectorsSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which detectors run; those left out do not."""

    moving: MovingSpec | None = None
    static: StaticSpec | None = None
    fire: FireSpec | None = None
    onnx: OnnxSpec | None = None
    falling: FallingSpec | None = None
    from_above: FromAboveSpec | None = None
    standing_water: WaterSpec | None = None
    gauges: tuple[GaugeSpec, ...] = ()


class CameraFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera."""

    id: str = "camera"
    size_px: tuple[int, int] | None = None  #: of the pixels in this file; the clip's unless given
    start: str | None = None  #: RFC 3339, of the first picture, where the source has no clock
    utc_offset_h: float = 8.0  #: of the clock in a DJI side-car file
    pose: CameraPose | None = None
    lens: LensSpec | None = None
    terrain: str | None = (
        None  #: raster of the ground's heights for the pose, relative to this file
    )
    ground: GroundSpec | None = None
    steady: bool | None = None  #: hovers or sways; unless given, where the ground is from above
    analysis_fps: Positive = 15.0
    analysis_width_px: Annotated[int, msgspec.Meta(ge=160, le=1920)] = 480
    masks_px: tuple[tuple[Pixel, ...], ...] = ()  #: polygons that are not looked at
    zones: tuple[ZoneSpec, ...] = ()
    lines: tuple[LineSpec, ...] = ()
    detectors: DetectorsSpec = DetectorsSpec(moving=MovingSpec(), static=StaticSpec())
    unblurred: Unblurred | None = None

    @property
    def is_steadied(self) -> bool:
        """Whether its pictures are laid onto the first one."""
        if self.steady is not None:
            return self.steady
        return self.ground is not None and self.ground.from_above


def read_camera_file(path: Path) -> CameraFile:
    """Read a camera.yaml.

    Raises:
        CameraFileError: Names file, line and what is accepted.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise CameraFileError(f"{path}: cannot be read: {exc}") from exc
    camera = parse_camera_file(text, str(path))
    return _beside(camera, path.parent)


def _beside(camera: CameraFile, folder: Path) -> CameraFile:
    """The same with the files that it names found from a folder."""
    replace = msgspec.structs.replace
    if camera.terrain is not None:
        camera = replace(camera, terrain=str(folder / camera.terrain))
    if camera.ground is not None and camera.ground.tsai is not None:
        tsai = str(folder / camera.ground.tsai)
        camera = replace(camera, ground=replace(camera.ground, tsai=tsai))
    detectors = camera.detectors
    onnx, water = detectors.onnx, detectors.standing_water
    if onnx is not None:
        onnx = replace(onnx, model=str(folder / onnx.model))
    if water is not None and water.dry_picture is not None:
        water = replace(water, dry_picture=str(folder / water.dry_picture))
    gauges = tuple(
        one if one.dry_picture is None else replace(one, dry_picture=str(folder / one.dry_picture))
        for one in detectors.gauges
    )
    detectors = replace(detectors, onnx=onnx, standing_water=water, gauges=gauges)
    return replace(camera, detectors=detectors)


def parse_camera_file(text: str, where: str) -> CameraFile:
    """Read the text of a camera.yaml.

    Example:
        >>> parse_camera_file("id: gate", "c.yaml").analysis_width_px
        480
        >>> parse_camera_file("id: gate\\nzone: []", "c.yaml")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        vision.camera_file.CameraFileError: c.yaml line 2: unknown key 'zone'; accepted: id, ...
    """
    camera = read_struct(text, CameraFile, where, what="a camera file", error=CameraFileError)
    if camera.start is not None:
        rfc3339_to_ns(camera.start)
    if camera.ground is not None:
        _check_ground(camera.ground, where)
    for zone in camera.zones:
        if len(zone.polygon_px) < 3:
            raise CameraFileError(
                f"{where}: zone {zone.id!r}: at least 3 corners were wanted, "
                f"got {len(zone.polygon_px)}"
            )
    names = [zone.id for zone in camera.zones] + [line.id for line in camera.lines]
    names += [gauge.id for gauge in camera.detectors.gauges]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CameraFileError(f"{where}: the id {min(twice)!r} comes twice")
    falling = camera.detectors.falling
    if falling is not None and falling.reference_px[0] == falling.reference_px[1]:
        raise CameraFileError(f"{where}: detectors.falling.reference_px: two points were wanted")
    if camera.unblurred is not None:
        rfc3339_to_ns(camera.unblurred.until)
    return camera


def _check_ground(ground: GroundSpec, where: str) -> None:
    given = [bool(ground.points), ground.matrix is not None, ground.tsai is not None]
    if given.count(True) > 1:
        raise CameraFileError(f"{where}: ground: one of points, matrix and tsai was wanted")
    if given.count(True) == 1 and not ground.points:
        return
    if len(ground.points) < 4:
        raise CameraFileError(
            f"{where}: ground.points: at least 4 points were wanted, got {len(ground.points)}"
        )
    for number, point in enumerate(ground.points):
        if (point.lonlat is None) == (point.metres is None):
            raise CameraFileError(
                f"{where}: ground.points[{number}]: either lonlat or metres was wanted"
            )
        if point.metres is not None and ground.origin is None and _in_degrees(ground):
            raise CameraFileError(
                f"{where}: ground.points[{number}]: metres beside points in lonlat need "
                "ground.origin, the lon and lat of metres (0, 0)"
            )


def _in_degrees(ground: GroundSpec) -> bool:
    return any(point.lonlat is not None for point in ground.points)
