"""Components 部件 of a city, each with the unit that answers for it: which one is meant here."""

from __future__ import annotations

from functools import lru_cache
from itertools import compress

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.city import LayerRole
from geo.cells import NearestTable
from geo.model import City

#: A component 部件 further away than this is not the one that is meant.
MAX_COMPONENT_DISTANCE_M = 30.0


class NearComponent(msgspec.Struct, frozen=True):
    """The nearest component and who answers for it."""

    id: str
    name: str
    kind: str
    unit: str | None
    distance_m: float


class Components:
    """The components of a city, in its plane; made once, asked in batches.

    Args:
        city: Whose.
        kinds: Only components of these kinds; of all unless given.

    Example:
        >>> from geo.city import generate_city
        >>> Components(generate_city(7)).near(np.array([120.38]), np.array([36.06]))
        [None]
    """

    def __init__(self, city: City, kinds: frozenset[str] | None = None) -> None:
        layers = city.layers_of(LayerRole.COMPONENT)
        self._frame = city.frame
        all_kinds = [kind for layer in layers for kind in layer.column("kind")]
        wanted = [kinds is None or kind in kinds for kind in all_kinds]
        self._ids, self._names, self._kinds, self._units = (
            list(compress((v for layer in layers for v in layer.column(column)), wanted))
            for column in ("feature_id", "name", "kind", "unit")
        )
        empty = np.empty(0, dtype=object)
        shapes = np.concatenate([empty, *(layer.geometries for layer in layers)])
        shapes = shapes[np.array(wanted, np.bool_)]
        metric = city.frame.geometry_to_metric(shapes) if len(shapes) else shapes
        self.table = NearestTable(metric, MAX_COMPONENT_DISTANCE_M)

    def __len__(self) -> int:
        return len(self._ids)

    def near(
        self, lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]
    ) -> list[NearComponent | None]:
        """The nearest component of each point, None where none is within 30 m.

        Args:
            lon_deg: WGS 84 degrees, shape (n,); NaN is near nothing.
            lat_deg: Likewise.

        Raises:
            GeometryError: The arrays do not fit each other.
        """
        if not self._ids:
            return [None] * len(lon_deg)
        features, away = self.table.nearest(*self._frame.to_metric(lon_deg, lat_deg))
        return [
            None
            if one < 0
            else NearComponent(
                self._ids[one], self._names[one], self._kinds[one], self._units[one] or None, metres
            )
            for one, metres in zip(features.tolist(), away.tolist(), strict=True)
        ]


@lru_cache(maxsize=32)
def components_of(city: City, kinds: frozenset[str] | None = None) -> Components:
    """The components of a city; kept for the few maps and kinds that are in use."""
    return Components(city, kinds)
