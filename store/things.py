"""Things as they were last heard of: aircraft, docks, sensors."""

from __future__ import annotations

from typing import Annotated

import msgspec

from core.grades import INTERNAL, PUBLIC


class Thing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The last state of one thing."""

    thing_id: Annotated[str, INTERNAL]
    kind: Annotated[str, PUBLIC]
    observed_ns: Annotated[int, INTERNAL]
    lon_deg: Annotated[float | None, INTERNAL] = None
    lat_deg: Annotated[float | None, INTERNAL] = None
    heading_deg: Annotated[float | None, INTERNAL] = None
    measures: Annotated[dict[str, float], INTERNAL] = {}
    labels: Annotated[dict[str, str], INTERNAL] = {}
