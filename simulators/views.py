"""Weather and night over a rendered picture: what makes a real street hard to see.

Pure: the same picture, conditions, time and seed give the same result. The labels of a frame
(what stands where) are of the scene, so they hold whatever the weather does to the picture; only
the camera's shake moves them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from core.errors import InputError
from simulators.environment import Environment
from simulators.messages import digest
from simulators.rendering import Lens, Picture

#: Light that street lamps leave at night, as a share of the day's.
_LAMP_LIGHT = 0.30
#: Colour of lamps and of a wet veil, blue green red.
_LAMP = np.array([0.72, 0.9, 1.0], np.float32)
_VEIL = np.array([196.0, 190.0, 184.0], np.float32)


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What the air and the light do.

    ``daylight`` is 1 by day and 0 at night; ``rain`` and ``fog`` 0 to 1. ``sun_azimuth_deg`` and
    ``sun_elevation_deg`` give hard shadows while ``sun`` (0 to 1) is more than nothing.
    ``shake_px`` is one sigma of the pole's swaying. ``water_depth_m`` is what stands on the
    road.
    """

    daylight: float = 1.0
    rain: float = 0.0
    fog: float = 0.0
    sun: float = 0.0
    sun_azimuth_deg: float = 180.0
    sun_elevation_deg: float = 40.0
    shake_px: float = 0.0
    water_depth_m: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether nothing of it changes a picture."""
        return self == Conditions()


#: Conditions by name, for test sets and people.
CONDITIONS = {
    "clear": Conditions(),
    "sun": Conditions(sun=0.9, sun_azimuth_deg=215.0, sun_elevation_deg=35.0),
    "rain": Conditions(rain=0.8, fog=0.1, daylight=0.8, shake_px=0.4),
    "fog": Conditions(fog=0.6, daylight=0.9),
    "night": Conditions(daylight=0.0),
    "wet-night": Conditions(daylight=0.0, rain=0.6, shake_px=0.4),
    "shake": Conditions(shake_px=1.2),
    "flood": Conditions(rain=0.4, daylight=0.85, water_depth_m=0.4),
}


def conditions_at(environment: Environment, instant_ns: int) -> Conditions:
    """What the environment of a simulated city does to its cameras at an instant."""
    rain = min(1.0, float(environment.channel("rain_mm_h", instant_ns)) / 30.0)
    daylight = float(environment.channel("daylight", instant_ns))
    hour = float(environment.local_hour(instant_ns))
    humidity = float(environment.channel("humidity_ratio", instant_ns))
    elevation = 55.0 * math.sin(math.pi * min(max((hour - 6.0) / 12.5, 0.0), 1.0))
    return Conditions(
        daylight=round(daylight, 3),
        rain=round(rain, 3),
        fog=round(max(0.0, humidity - 0.85) * 2.0, 3),
        sun=round(0.8 * daylight * (1.0 - min(1.0, 3.0 * rain)), 3) if elevation > 5 else 0.0,
        sun_azimuth_deg=round(90.0 + 180.0 * min(max((hour - 6.0) / 12.5, 0.0), 1.0), 1),
        sun_elevation_deg=round(max(elevation, 5.0), 1),
        shake_px=round(
            max(0.0, float(environment.channel("wind_mps", instant_ns)) - 4.0) * 0.15, 2
        ),
    )


def conditions_of(name: str, seed: int, epoch_ns: int) -> Callable[[int], Conditions]:
    """Conditions by city time: one of :data:`CONDITIONS` throughout, or ``city`` as it goes.

    Args:
        name: Of the conditions.
        seed: Of the world.
        epoch_ns: Its beginning.

    Raises:
        InputError: There is no such name.

    Example:
        >>> conditions_of("night", 7, 0)(5).daylight
        0.0
    """
    if name == "city":
        environment = Environment(seed, epoch_ns)
        return lambda instant_ns: conditions_at(environment, instant_ns)
    fixed = CONDITIONS.get(name)
    if fixed is None:
        raise InputError(f"weather: city, {', '.join(CONDITIONS)} was wanted, got {name!r}")
    return lambda _: fixed


def shake(conditions: Conditions, time_ns: int, seed: int) -> tuple[int, int]:
    """How far the picture is moved at an instant, right and down, in whole pixels.

    Example:
        >>> shake(Conditions(), 5, 7)
        (0, 0)
    """
    if conditions.shake_px <= 0.0:
        return 0, 0
    rng = np.random.default_rng(digest(seed, "shake", time_ns))
    right, down = np.clip(rng.standard_normal(2), -2.5, 2.5) * conditions.shake_px
    return round(float(right)), round(float(down))


def cast_shadow(
    picture: Picture, lens: Lens, footprint_m: NDArray[np.float64], height_m: float,
    conditions: Conditions,
) -> None:  # fmt: skip
    """Draw the hard shadow of an upright solid on flat ground, into the picture.

    Args:
        picture: uint8, shape (h, w, 3).
        lens: The camera.
        footprint_m: Corners on the ground, shape (n, 3).
        height_m: Of the solid.
        conditions: Where the sun stands.
    """
    if conditions.sun <= 0.0 or conditions.sun_elevation_deg < 3.0:
        return
    reach = min(12.0, height_m / math.tan(math.radians(conditions.sun_elevation_deg)))
    turn = math.radians(conditions.sun_azimuth_deg + 180.0)
    shift = np.array([reach * math.sin(turn), reach * math.cos(turn), 0.0])
    points = np.vstack([footprint_m, footprint_m + shift])
    hull = shapely.get_coordinates(shapely.MultiPoint(points[:, :2]).convex_hull)[:-1]
    flat = np.column_stack([hull, np.full(len(hull), 0.01)]).astype(np.float64)
    outline = lens.polygon(flat)
    if outline is None:
        return
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA, 4)
    light = 1.0 - 0.5 * conditions.sun * (mask.astype(np.float32) / 255.0)
    picture[:] = (picture * light[..., None]).astype(np.uint8)


def flood(picture: Picture, ground: NDArray[np.bool_], conditions: Conditions) -> None:
    """Standing water: the road turns smooth and takes on the sky's colour, into the picture.

    Args:
        picture: uint8, shape (h, w, 3).
        ground: Where the road is, shape (h, w).
        conditions: How deep.
    """
    if conditions.water_depth_m <= 0.02 or not ground.any():
        return
    share = min(0.75, 0.25 + conditions.water_depth_m)
    smooth = cv2.GaussianBlur(picture, (0, 0), 5.0).astype(np.float32)
    water = smooth * (1.0 - share) + np.array([150.0, 132.0, 118.0], np.float32) * share
    np.copyto(picture, water.astype(np.uint8), where=ground[..., None])


def weather(
    picture: Picture,
    conditions: Conditions,
    time_ns: int,
    seed: int,
    lamps: Sequence[tuple[int, int, int, int]] = (),
) -> Picture:
    """The picture as the camera has it.

    Args:
        picture: uint8, shape (h, w, 3), blue green red.
        conditions: Of air and light.
        time_ns: City time; drops and noise differ from frame to frame.
        seed: Of the camera.
        lamps: Boxes (left, top, right, bottom) of vehicles, which have their lamps on at night.

    Returns:
        A picture of the same shape.

    Example:
        >>> grey = np.full((90, 160, 3), 120, np.uint8)
        >>> weather(grey, Conditions(), 0, 7) is grey
        True
        >>> int(weather(grey, CONDITIONS["night"], 0, 7).mean()) < 60
        True
    """
    if conditions.plain:
        return picture
    rng = np.random.default_rng(digest(seed, "weather", time_ns))
    height, width = picture.shape[:2]
    view = picture.astype(np.float32)
    dark = 1.0 - conditions.daylight
    if dark > 0.0:
        view *= (1.0 - dark) + dark * _LAMP_LIGHT * _lamp_light(height, width)[..., None]
        view *= (1.0 - dark) + dark * _LAMP
        for box in lamps:
            _headlight(view, box, dark)
    veil = min(0.85, conditions.fog * 0.8 + conditions.rain * 0.18)
    if veil > 0.0:
        # The farther (higher in the picture), the thicker the air.
        thick = veil * np.linspace(1.25, 0.45, height, dtype=np.float32)[:, None, None]
        thick = np.clip(thick, 0.0, 0.95)
        view = view * (1.0 - thick) + _VEIL * (1.0 - 0.75 * dark) * thick
    if conditions.rain > 0.0:
        _streaks(view, conditions.rain, rng)
    # A dark picture is amplified, and its noise with it.
    sigma = 1.0 + 6.0 * dark + 1.5 * conditions.rain
    view += rng.standard_normal((height, width, 1), np.float32) * sigma
    seen: Picture = np.clip(view, 0, 255).astype(np.uint8)
    right, down = shake(conditions, time_ns, seed)
    if right or down:
        move = np.array([[1.0, 0.0, right], [0.0, 1.0, down]])
        moved = cv2.warpAffine(
            seen, move, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        seen = np.asarray(moved, np.uint8)
    return seen


def _lamp_light(height: int, width: int) -> NDArray[np.float32]:
    """Pools of light under street lamps: mean about 1."""
    across = 1.0 + 0.55 * np.cos(np.linspace(0.0, 5.0 * math.pi, width, dtype=np.float32))
    down = np.linspace(0.55, 1.35, height, dtype=np.float32)
    return np.asarray(down[:, None] * across[None, :], np.float32)


def _headlight(view: NDArray[np.float32], box: tuple[int, int, int, int], dark: float) -> None:
    left, top, right, bottom = box
    if right - left < 4 or bottom - top < 4:
        return
    radius = max(2, (right - left) // 10)
    glow = np.zeros(view.shape[:2], np.float32)
    for x in (left + (right - left) // 5, right - (right - left) // 5):
        cv2.circle(glow, (x, top + 3 * (bottom - top) // 4), radius, 1.0, -1, cv2.LINE_AA)
    glow = cv2.GaussianBlur(glow, (0, 0), radius).astype(np.float32)
    view += glow[..., None] * (150.0 * dark)


def _streaks(view: NDArray[np.float32], rain: float, rng: np.random.Generator) -> None:
    height, width = view.shape[:2]
    count = int(rain * width * height / 900)
    layer = np.zeros((height, width), np.float32)
    starts = rng.uniform(0, 1, (count, 3))
    slant = float(rng.uniform(-0.18, 0.18))
    for x, y, size in starts.tolist():
        long = 5.0 + 13.0 * size
        begin = (round(x * width), round(y * height))
        end = (round(x * width + slant * long), round(y * height + long))
        cv2.line(layer, begin, end, 0.35 + 0.4 * size, 1, cv2.LINE_AA)
    view += layer[..., None] * 55.0
