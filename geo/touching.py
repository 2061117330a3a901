"""Which grids a position with an error may lie in, and how likely each is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from geo.crs import MetricFrame
from geo.tagging import Tagger

#: Points that stand for the error of one position; a share is known to about a part in this.
SAMPLES = 256

#: A smaller share than this is not told: nobody routes by it.
MIN_RATIO = 0.01

_GOLDEN_RAD = np.pi * (3.0 - np.sqrt(5.0))


class Share(msgspec.Struct, frozen=True):
    """A grid and the probability that the position lies in it; no code is outside every grid."""

    grid_code: str | None
    share_ratio: float


def grid_shares(
    tagger: Tagger,
    frame: MetricFrame,
    lon_deg: NDArray[np.float64],
    lat_deg: NDArray[np.float64],
    error_major_m: NDArray[np.float64],
    error_minor_m: NDArray[np.float64],
    error_azimuth_deg: NDArray[np.float64],
) -> list[tuple[Share, ...]]:
    """The grids that the error ellipses of positions touch.

    The error is taken as normal. It is measured with the same sample of points every time, so
    the same position always gives the same shares.

    Args:
        tagger: Whose grids.
        frame: The city's plane.
        lon_deg: Shape (n,), WGS 84 degrees.
        lat_deg: Shape (n,).
        error_major_m: Shape (n,), one sigma; NaN where unknown.
        error_minor_m: Shape (n,), one sigma.
        error_azimuth_deg: Shape (n,), of the major axis, clockwise from true north.

    Returns:
        For each position its grids, the likeliest first; empty where error or place is unknown.
    """
    shares: list[tuple[Share, ...]] = [()] * len(lon_deg)
    asked = np.flatnonzero(
        np.isfinite(lon_deg)
        & np.isfinite(lat_deg)
        & np.isfinite(error_major_m)
        & np.isfinite(error_minor_m)
        & (error_major_m > 0.0)
    )
    if not len(asked) or not len(tagger.grid_features):
        return shares
    unit = _normal_sample()
    azimuth = np.radians(np.nan_to_num(error_azimuth_deg[asked]))[:, None]
    along = error_major_m[asked, None] * unit[:, 0]
    across = error_minor_m[asked, None] * unit[:, 1]
    east, north = frame.to_metric(lon_deg[asked], lat_deg[asked])
    lon, lat = frame.to_lonlat(
        east[:, None] + along * np.sin(azimuth) + across * np.cos(azimuth),
        north[:, None] + along * np.cos(azimuth) - across * np.sin(azimuth),
    )
    found = tagger.grid_features.table.first(lon.ravel(), lat.ravel()).reshape(lon.shape)
    codes = tagger.grid_features.codes
    for row, features in zip(asked.tolist(), found, strict=True):
        shares[row] = _counted(features, codes)
    return shares


def _counted(features: NDArray[np.int64], codes: Sequence[str]) -> tuple[Share, ...]:
    numbers, counts = np.unique(features, return_counts=True)
    parts = [
        Share(codes[number] if number >= 0 else None, count / len(features))
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        if count / len(features) >= MIN_RATIO
    ]
    return tuple(sorted(parts, key=lambda part: (-part.share_ratio, part.grid_code or "")))


def _normal_sample() -> NDArray[np.float64]:
    """Points of equal weight that are spread as a normal distribution of one sigma is."""
    number = np.arange(SAMPLES) + 0.5
    radius = np.sqrt(-2.0 * np.log(1.0 - number / SAMPLES))
    turn = number * _GOLDEN_RAD
    return np.column_stack([radius * np.cos(turn), radius * np.sin(turn)])
