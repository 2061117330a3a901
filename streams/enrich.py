"""Places observations: fills the position of fixed devices and asks the map. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
import numpy as np

from core.city import AltitudeDatum, Device
from core.observations import Columns
from geo.tagging import Tagger, Tags

C = TypeVar("C", bound=Columns)

#: Measures that are altitudes, by the datum in their name.
ALTITUDE_MEASURES = {datum: f"alt_{datum.value}_m" for datum in AltitudeDatum}

#: A registered position is taken as surveyed to class B of GB/T 47678.5 (1 m).
REGISTER_ERROR_M = 1.0


def fill_positions(batch: C, devices: Mapping[str, Device]) -> C:
    """Give rows without a position that of the register of devices, where it has one."""
    place = batch.place
    missing = np.flatnonzero(np.isnan(place[:, 0]) | np.isnan(place[:, 1]))
    filled: np.ndarray[tuple[int, int], np.dtype[np.float64]] | None = None
    numbers = missing.tolist()
    known = map(devices.get, map(batch.thing_ids.__getitem__, numbers))
    for row, device in zip(numbers, known, strict=True):
        if device is None or device.lon_deg is None or device.lat_deg is None:
            continue
        if filled is None:
            filled = place.copy()
        filled[row] = (device.lon_deg, device.lat_deg, REGISTER_ERROR_M, REGISTER_ERROR_M, 0.0)
    if filled is None:
        return batch
    return msgspec.structs.replace(batch, positions=filled.tobytes())


def tag_batch(batch: Columns, tagger: Tagger) -> Tags:
    """Ask every layer about every row, altitudes with their datum."""
    altitudes = {
        datum: batch.dense_measure(name)
        for datum, name in ALTITUDE_MEASURES.items()
        if name in batch.measures
    }
    place = batch.place
    return tagger.tag(place[:, 0], place[:, 1], altitudes or None, batch.observed_ns)
