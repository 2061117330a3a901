"""The map in use: the right version of every layer for each instant, swapped while in use."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.city import AltitudeDatum, LayerRole
from core.events import Place
from geo.catalogue import Catalogue
from geo.fence_layers import fences_of
from geo.fences import FenceSet
from geo.model import City
from geo.table_cache import TableCache
from geo.tagging import Tagger, Tags

logger = logging.getLogger(__name__)

#: Features that a message names, of those that are no fences.
_MOST_NAMED = 5


class LiveTagger(Tagger):
    """A tagger whose layers change: by date within the catalogue, and when one is swapped in.

    What a row is tagged with depends on its own time and the catalogue only, so a replay with
    the same catalogue gives the same tags. A swap is one assignment: a batch is tagged wholly by
    the maps from before it or wholly by those after it, and its places say which.

    Args:
        city: The city with the layers that have no dates.
        catalogue: Versions that replace or add to them.
        tables: Where the indexes are kept from one start to the next; nowhere unless given.

    Example:
        >>> from geo.city import generate_city
        >>> tagger = LiveTagger(generate_city(7))
        >>> len(tagger.tag(np.array([120.38]), np.array([36.06]), None, np.array([0])))
        1
    """

    def __init__(
        self, city: City, catalogue: Catalogue | None = None, tables: TableCache | None = None
    ) -> None:
        self._base = city
        self._tables = tables
        self._catalogue = _facts(catalogue or Catalogue())
        self._epochs = _build(city, catalogue or Catalogue(), tables, [])
        self.swap_count = 0

    def swap(self, catalogue: Catalogue) -> bool:
        """Take another catalogue into use; builds first, then changes over at once.

        Returns:
            Whether it was another one; the one in use is not built again.
        """
        facts = _facts(catalogue)
        if facts == self._catalogue:
            return False
        self._epochs = _build(self._base, catalogue, self._tables, self._epochs)
        self._catalogue = facts
        self.swap_count += 1
        return True

    def at(self, time_ns: int) -> tuple[Tagger, City]:
        """The tagger and the city with the layers that count at an instant."""
        one = self._epoch_at(time_ns)
        return one.tagger, one.city

    def fences_at(self, time_ns: int) -> FenceSet:
        """The fences that hold at an instant: the same object until a version changes."""
        return self._epoch_at(time_ns).fences

    def _epoch_at(self, time_ns: int) -> _Epoch:
        epochs = self._epochs
        return epochs[int(_epoch_of(epochs, np.array([time_ns]))[0])]

    def tag(
        self,
        lon_deg: NDArray[np.float64],
        lat_deg: NDArray[np.float64],
        altitudes: Mapping[AltitudeDatum, NDArray[np.float64]] | None = None,
        time_ns: NDArray[np.int64] | None = None,
    ) -> Tags:
        """Tag a batch, each row by the layers that count at its time.

        Args:
            lon_deg: Shape (n,), WGS 84 degrees, NaN where unknown.
            lat_deg: Shape (n,).
            altitudes: Metres by datum, each of shape (n,), NaN where unknown.
            time_ns: UTC nanoseconds, shape (n,); the latest versions count without it.

        Raises:
            GeometryError: The arrays have different shapes.
        """
        epochs = self._epochs
        if len(epochs) == 1 or time_ns is None or not len(time_ns):
            return epochs[-1].tagger.tag(lon_deg, lat_deg, altitudes, time_ns)
        epoch = _epoch_of(epochs, time_ns)
        first = int(epoch[0])
        if (epoch == first).all():
            return epochs[first].tagger.tag(lon_deg, lat_deg, altitudes, time_ns)
        parts = {}
        for number in np.unique(epoch).tolist():
            rows = np.flatnonzero(epoch == number)
            some = {datum: values[rows] for datum, values in (altitudes or {}).items()}
            tags = epochs[number].tagger.tag(
                lon_deg[rows], lat_deg[rows], some or None, time_ns[rows]
            )
            parts[number] = (rows, tags)
        return _SplitTags(len(lon_deg), parts)


class _SplitTags(Tags):
    """Tags of a batch across a change of versions: each row's own epoch answers."""

    def __init__(self, count: int, parts: Mapping[int, tuple[NDArray[np.int64], Tags]]) -> None:
        self._count = count
        self._parts = list(parts.values())
        self._where: dict[int, tuple[Tags, int]] = {}
        self.road_distance_m = np.full(count, np.nan)
        self.layer_versions = {}
        for rows, tags in self._parts:
            self.road_distance_m[rows] = tags.road_distance_m
            self.layer_versions = tags.layer_versions  # of the last epoch; places have their own
            for inner, row in enumerate(rows.tolist()):
                self._where[row] = (tags, inner)

    def __len__(self) -> int:
        return self._count

    def in_zone(self, kind: str) -> NDArray[np.bool_]:
        return self._gather("in_zone", kind)

    def in_airspace(self, kind: str) -> NDArray[np.bool_]:
        return self._gather("in_airspace", kind)

    def airspace_unsure(self, kind: str) -> NDArray[np.bool_]:
        return self._gather("airspace_unsure", kind)

    @property
    def road_features_of_rows(self) -> NDArray[np.int64]:
        """No numbers: a road's number is one of its own version only."""
        return np.full(self._count, -1, dtype=np.int64)

    def airspaces_unsure(self, row: int) -> tuple[str, ...]:
        tags, inner = self._where[row]
        return tags.airspaces_unsure(inner)

    def zone_lists(self) -> list[tuple[str, ...]]:
        return [self.zones(row) for row in range(self._count)]

    def airspace_lists(self) -> list[tuple[str, ...]]:
        return [self.airspaces(row) for row in range(self._count)]

    def area_codes(self) -> list[str | None]:
        return self._in_order([tags.area_codes() for _, tags in self._parts])

    def road_names(self) -> list[str | None]:
        return self._in_order([tags.road_names() for _, tags in self._parts])

    def zones(self, row: int) -> tuple[str, ...]:
        tags, inner = self._where[row]
        return tags.zones(inner)

    def airspaces(self, row: int) -> tuple[str, ...]:
        tags, inner = self._where[row]
        return tags.airspaces(inner)

    def place(self, row: int, *args: float | None, **more: float | None) -> Place:
        tags, inner = self._where[row]
        return tags.place(inner, *args, **more)

    def _in_order(self, parts: list[list[str | None]]) -> list[str | None]:
        found: list[str | None] = [None] * self._count
        for (rows, _), texts in zip(self._parts, parts, strict=True):
            for row, text in zip(rows.tolist(), texts, strict=True):
                found[row] = text
        return found

    def _gather(self, method: str, kind: str) -> NDArray[np.bool_]:
        mask = np.zeros(self._count, dtype=np.bool_)
        for rows, tags in self._parts:
            mask[rows] = getattr(tags, method)(kind)
        return mask


class _Epoch(NamedTuple):
    """A span in which no version changes, from its begin on."""

    begin_ns: int
    tagger: Tagger
    city: City
    fences: FenceSet


_Epochs = list[_Epoch]


def _facts(catalogue: Catalogue) -> tuple[Any, ...]:
    """All that tells one catalogue from another."""
    versions = {
        name: [(one.layer.version, one.from_ns, one.to_ns) for one in several]
        for name, several in catalogue.versions.items()
    }
    return versions, dict(catalogue.old_codes)


def _build(city: City, catalogue: Catalogue, tables: TableCache | None, before: _Epochs) -> _Epochs:
    """A tagger for every span in which no version changes; fences that do not are made once."""
    made = {_fence_versions(one.city): one.fences for one in before}
    epochs: _Epochs = []
    for begin in catalogue.changes_ns():
        layers = city.layers | catalogue.at(begin)
        versions = {name: layer.version for name, layer in layers.items()}
        if epochs and versions == {n: one.version for n, one in epochs[-1].city.layers.items()}:
            continue
        old_codes = {**city.old_codes, **catalogue.old_codes}
        then = replace(city, layers=layers, old_codes=old_codes)
        versions_of_fences = _fence_versions(then)
        if versions_of_fences not in made:
            made[versions_of_fences] = _make_fences(then)
        epochs.append(_Epoch(begin, Tagger(then, tables), then, made[versions_of_fences]))
    return epochs


def _fence_versions(city: City) -> tuple[tuple[str, str], ...]:
    """All that the fences of a city depend on."""
    layers = (*city.layers_of(LayerRole.ZONE), *city.layers_of(LayerRole.AIRSPACE))
    return tuple((layer.id, layer.version) for layer in layers)


def _make_fences(city: City) -> FenceSet:
    fences, left_out = fences_of(city)
    if left_out:
        some = ", ".join(left_out[:_MOST_NAMED])
        logger.warning(
            "%d zones or airspaces are no fences, for want of an area, of one datum, or of hours "
            "that are every day's: %s",
            len(left_out),
            some + " …" * (len(left_out) > _MOST_NAMED),
        )
    return FenceSet(fences)


def _epoch_of(epochs: _Epochs, time_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    begins = np.array([one.begin_ns for one in epochs], dtype=np.int64)
    return np.maximum(np.searchsorted(begins, time_ns, side="right") - 1, 0)
