"""Altitudes that know what they are measured from.

A height above the ellipsoid, above sea level, above take-off and above ground are different
types, so that they cannot be added, compared or mixed up unnoticed; each way from one to another
asks for what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.city import AltitudeDatum
from core.errors import GeometryError

_Own = TypeVar("_Own", bound="Altitudes")


@dataclass(frozen=True, eq=False)
class Altitudes:
    """Altitudes of a batch above one datum; use one of the classes below.

    Attributes:
        metres: Shape (n,), NaN where unknown.
        sigma_m: Shape (n,), one-sigma error; 0 where it is taken as exact.
    """

    metres: NDArray[np.float64]
    sigma_m: NDArray[np.float64]

    datum: ClassVar[AltitudeDatum]

    @classmethod
    def of(cls: type[_Own], metres: ArrayLike, sigma_m: ArrayLike = 0.0) -> _Own:
        """Altitudes of numbers.

        Args:
            metres: One or shape (n,); NaN where unknown.
            sigma_m: One for all, or shape (n,).

        Raises:
            GeometryError: The arrays do not fit each other, or an error is negative.

        Example:
            >>> GroundHeights.of([50.0, 120.0], 1.5).sigma_m.tolist()
            [1.5, 1.5]
        """
        values = np.atleast_1d(np.asarray(metres, dtype=np.float64))
        try:
            sigma = np.broadcast_to(np.asarray(sigma_m, dtype=np.float64), values.shape)
        except ValueError as exc:
            raise GeometryError(f"altitudes: sigma_m of shape {values.shape} was wanted") from exc
        if values.ndim != 1 or (sigma < 0.0).any():
            raise GeometryError("altitudes: shape (n,) and errors >= 0 were wanted")
        return cls(values, sigma)

    def minus(self: _Own, other: _Own) -> NDArray[np.float64]:
        """How far these are above others of the same datum, shape (n,), metres.

        Raises:
            GeometryError: The other is above another datum.

        Example:
            >>> MslAltitudes.of([80.0]).minus(MslAltitudes.of([30.0])).tolist()
            [50.0]
            >>> MslAltitudes.of([80.0]).minus(GroundHeights.of([30.0]))
            Traceback (most recent call last):
            ...
            core.errors.GeometryError: altitudes: msl was wanted, got agl; convert it first
        """
        if other.datum is not self.datum:
            raise GeometryError(
                f"altitudes: {self.datum.value} was wanted, got {other.datum.value}; "
                "convert it first"
            )
        return np.asarray(self.metres - other.metres)

    def surely_above(self, limit_m: float, sigmas: float = 2.0) -> NDArray[np.bool_]:
        """Which are above a limit by more than their error, shape (n,); unknown ones are not."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.metres - sigmas * self.sigma_m > limit_m)

    def _moved(self, kind: type[_Own], by_m: NDArray[np.float64], sigma_m: ArrayLike) -> _Own:
        sigma = np.hypot(self.sigma_m, np.asarray(sigma_m, dtype=np.float64))
        return kind.of(self.metres + by_m, sigma)


class EllipsoidHeights(Altitudes):
    """Above the WGS 84 ellipsoid, as satellites give it."""

    datum = AltitudeDatum.WGS84

    def to_msl(self, undulation_m: ArrayLike, sigma_m: ArrayLike = 0.0) -> MslAltitudes:
        """Above sea level: minus the geoid's height above the ellipsoid there.

        Args:
            undulation_m: The geoid above the ellipsoid, one or shape (n,). It is some metres in
                Qingdao and must be given: the two surfaces are never the same by default.
            sigma_m: Its error.

        Example:
            >>> EllipsoidHeights.of([100.0], 2.0).to_msl(8.0, 1.5).sigma_m.tolist()
            [2.5]
        """
        return self._moved(MslAltitudes, -np.asarray(undulation_m, dtype=np.float64), sigma_m)


class MslAltitudes(Altitudes):
    """Above mean sea level; in China the Yellow Sea datum of 1985."""

    datum = AltitudeDatum.MSL

    def to_ellipsoid(self, undulation_m: ArrayLike, sigma_m: ArrayLike = 0.0) -> EllipsoidHeights:
        """Above the ellipsoid; undoes :meth:`EllipsoidHeights.to_msl`, with the same shapes."""
        return self._moved(EllipsoidHeights, np.asarray(undulation_m, dtype=np.float64), sigma_m)

    def to_ground(self, terrain_m: ArrayLike, sigma_m: ArrayLike = 2.0) -> GroundHeights:
        """True height 真高: above the ground there.

        Args:
            terrain_m: Height of the ground above sea level, one or shape (n,).
            sigma_m: Its error.
        """
        return self._moved(GroundHeights, -np.asarray(terrain_m, dtype=np.float64), sigma_m)


class TakeoffHeights(Altitudes):
    """Above the point of take-off, as most aircraft tell it."""

    datum = AltitudeDatum.TAKEOFF

    def to_msl(self, takeoff: MslAltitudes) -> MslAltitudes:
        """Above sea level.

        Args:
            takeoff: Of the point of take-off, one or shape (n,).
        """
        return self._moved(MslAltitudes, takeoff.metres, takeoff.sigma_m)


class GroundHeights(Altitudes):
    """True height 真高, above the ground below."""

    datum = AltitudeDatum.AGL

    def to_msl(self, terrain_m: ArrayLike, sigma_m: ArrayLike = 2.0) -> MslAltitudes:
        """Above sea level; undoes :meth:`MslAltitudes.to_ground`, with the same shapes."""
        return self._moved(MslAltitudes, np.asarray(terrain_m, dtype=np.float64), sigma_m)


def by_datum(*altitudes: Altitudes) -> dict[AltitudeDatum, NDArray[np.float64]]:
    """Columns as :meth:`geo.tagging.Tagger.tag` takes them.

    Raises:
        GeometryError: Two are above one datum.

    Example:
        >>> sorted(by_datum(MslAltitudes.of([1.0]), GroundHeights.of([2.0])))
        [<AltitudeDatum.AGL: 'agl'>, <AltitudeDatum.MSL: 'msl'>]
    """
    columns = {one.datum: one.metres for one in altitudes}
    if len(columns) != len(altitudes):
        raise GeometryError("altitudes: one column for each datum was wanted, one datum is twice")
    return columns
