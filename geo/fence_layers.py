"""Fences of a city's map: its zones and its airspace, as moving things meet them."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from core.city import AltitudeDatum, LayerRole
from geo.fences import CHINA_OFFSET_S, ActiveSpan, Fence
from geo.layers import Layer
from geo.model import City
from geo.schedule import Schedule

#: How far ahead an entry into airspace is foretold.
AHEAD_S = 30.0

#: Out of airspace is who is out by this much; aircraft are placed worse than things on the ground.
_AIR_HYSTERESIS_M = 10.0

_AREAS = (3, 6)
_ABOVE_GROUND = (AltitudeDatum.AGL, AltitudeDatum.TAKEOFF)


def fences_of(city: City) -> tuple[list[Fence], list[str]]:
    """Make a fence of every zone and every volume of airspace.

    Returns:
        The fences, and the ids of features that cannot be one: no area, a floor above another
        datum than the ceiling, or hours on certain days only.

    Example:
        >>> from geo.city import generate_city
        >>> fences, left_out = fences_of(generate_city(7))
        >>> {one.kind for one in fences} >= {"no_parking", "protected"}, left_out
        (True, [])
    """
    fences: list[Fence] = []
    left_out: list[str] = []
    for role in (LayerRole.ZONE, LayerRole.AIRSPACE):
        for layer in city.layers_of(role):
            for row, shape in enumerate(layer.geometries):
                name = str(layer.column("feature_id")[row])
                fence = None
                if shapely.get_type_id(shape) in _AREAS and not shape.is_empty:
                    fence = _fence(layer, row, f"{layer.id}:{name}", shape)
                if fence is None:
                    left_out.append(name)
                else:
                    fences.append(fence)
    return fences, left_out


def _fence(layer: Layer, row: int, name: str, shape: shapely.Geometry) -> Fence | None:
    kind = str(layer.column("kind")[row])
    if layer.role is not LayerRole.AIRSPACE:
        return Fence(id=name, geometry=shape, kind=kind, version=layer.version)
    floor_m, ceiling_m = (float(layer.column(one)[row]) for one in ("floor_m", "ceiling_m"))
    low, high = (AltitudeDatum(layer.column(one)[row]) for one in ("datum", "ceiling_datum"))
    hours = _hours(str(layer.column("active")[row]))
    # A volume that begins at the ground has no floor, as for tags.
    open_below = not np.isfinite(floor_m) or (low in _ABOVE_GROUND and floor_m <= 0.0)
    open_above = not np.isfinite(ceiling_m)
    if hours is None or (low is not high and not open_below and not open_above):
        return None
    return Fence(
        id=name,
        geometry=shape,
        kind=kind,
        floor_m=None if open_below else floor_m,
        ceiling_m=None if open_above else ceiling_m,
        datum=low if open_above else high,
        hysteresis_m=_AIR_HYSTERESIS_M,
        ahead_s=AHEAD_S,
        crossings=True,
        version=layer.version,
        **hours,
    )


def _hours(text: str) -> dict[str, Any] | None:
    """The hours of a schedule as a fence has them; None where a fence cannot have them."""
    periods = Schedule.parse(text).periods
    spans = []
    daily = None
    for period in periods:
        if period.days or (period.start_s is not None and len(periods) > 1):
            return None
        if period.start_s is not None and period.end_s is not None:
            daily = tuple(
                (second + CHINA_OFFSET_S) % 86_400 for second in (period.start_s, period.end_s)
            )
        if period.from_ns is not None or period.to_ns is not None:
            far = np.iinfo(np.int64)
            spans.append(
                ActiveSpan(
                    int(far.min) if period.from_ns is None else period.from_ns,
                    int(far.max) if period.to_ns is None else period.to_ns,
                )
            )
        elif len(periods) > 1:
            return None
    return {"active": tuple(spans), "daily": daily}
