"""Tags positions with what the map says of them: areas, road, zones, airspace.

Exact and vectorised: a batch is one look-up in a table of cells per kind of layer, whatever its
size (:mod:`geo.cells`). Predicates run in the plane of longitude and latitude, as the layers'
edges are defined there; distances to roads run in the city's metric frame. Areas are closed: a
point on a border lies in all areas that it touches, and where only one can be named it is the
one that comes first, in the order of layers and then of features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.city import AltitudeDatum, LayerRole
from core.errors import GeometryError
from core.events import Place
from geo.cells import CellTable, NearestTable, VolumeTable
from geo.crs import MetricFrame
from geo.layers import Layer
from geo.model import City
from geo.schedule import Schedule
from geo.table_cache import TableCache

#: A road further away than this does not name the place.
MAX_ROAD_DISTANCE_M = 50.0

#: Levels of area from the finest, with the digits of their codes.
_LEVELS = (
    (LayerRole.GRID, 15),
    (LayerRole.COMMUNITY, 12),
    (LayerRole.STREET, 9),
    (LayerRole.DISTRICT, 6),
)

#: Heights above ground and above take-off stand in for each other where only one is known:
#: over a city's nearly flat ground they differ by the ground's own relief between take-off
#: and here, and a rule that is asked for either must not be blind.
_STANDS_IN = {
    AltitudeDatum.AGL: AltitudeDatum.TAKEOFF,
    AltitudeDatum.TAKEOFF: AltitudeDatum.AGL,
}

_DATUMS = tuple(AltitudeDatum)

_NONE = -1


class _Features:
    """The columns of all layers of a role, as one."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.ids = _joined(layers, "feature_id")
        self.codes = _joined(layers, "code")
        self.names = _joined(layers, "name")
        self.kinds = _joined(layers, "kind")
        self.generated = [bool(value) for value in _joined(layers, "generated")]
        kinds = np.array(self.kinds, dtype=object)
        self._of_kind = {kind: np.asarray(kinds == kind) for kind in set(self.kinds)}

    def __len__(self) -> int:
        return len(self.ids)

    def of_kind(self, kind: str) -> NDArray[np.bool_]:
        """Which features are of a kind."""
        return self._of_kind.get(kind, np.zeros(len(self.ids), dtype=np.bool_))


class _Areas(_Features):
    """Features that one can be in."""

    def __init__(self, layers: Sequence[Layer], tables: TableCache | None) -> None:
        super().__init__(layers)

        def build() -> CellTable:
            return CellTable(_geometries(layers), closed=True)

        made_of = _versions(layers)
        self.table = tables.get(CellTable, made_of, build) if tables and len(self) else build()


class _Volumes(_Features):
    """Airspace: features with a floor and a ceiling, each above a datum, and hours.

    A volume whose floor and ceiling are above different datums is two in the table, the one
    above its floor and the one below its ceiling; a point lies in it where it lies in both.
    """

    def __init__(self, layers: Sequence[Layer], tables: TableCache | None) -> None:
        super().__init__(layers)
        low = [AltitudeDatum(value) for value in _joined(layers, "datum")]
        high = [AltitudeDatum(value) for value in _joined(layers, "ceiling_datum")]
        floors = np.array(_joined(layers, "floor_m"), dtype=np.float64)
        ceilings = np.array(_joined(layers, "ceiling_m"), dtype=np.float64)
        # A volume that begins at the ground has no floor: a barometer on the ground may well
        # read some metres below it.
        grounded = np.array([one in _STANDS_IN for one in low], dtype=np.bool_) & (floors <= 0.0)
        floors = np.where(grounded, -np.inf, floors)
        floor_datum = np.array([_DATUMS.index(one) for one in low], dtype=np.int64)
        datum = np.array([_DATUMS.index(one) for one in high], dtype=np.int64)
        self._mixed = np.isfinite(floors) & np.isfinite(ceilings) & (floor_datum != datum)
        extra = np.flatnonzero(self._mixed)
        shapes = _geometries(layers)
        self._feature = np.concatenate([np.arange(len(shapes)), extra])

        def build() -> VolumeTable:
            return VolumeTable(
                np.concatenate([shapes, shapes[extra]]),
                np.concatenate([np.where(self._mixed, -np.inf, floors), floors[extra]]),
                np.concatenate([ceilings, np.full(len(extra), np.inf)]),
                # Without a ceiling it is the floor that is compared.
                np.concatenate(
                    [np.where(np.isfinite(ceilings), datum, floor_datum), floor_datum[extra]]
                ),
                closed=True,
            )

        made_of = _versions(layers)
        self.table = tables.get(VolumeTable, made_of, build) if tables and len(self) else build()
        hours = [Schedule.parse(text) for text in _joined(layers, "active")]
        self._hours = {row: one for row, one in enumerate(hours) if not one.is_always}
        self._limited = np.array([not one.is_always for one in hours], dtype=np.bool_)

    def find(
        self,
        lon: NDArray[np.float64],
        lat: NDArray[np.float64],
        heights: NDArray[np.float64],
        time_ns: NDArray[np.int64] | None,
    ) -> tuple[_Hits, _Hits]:
        """Volumes that points lie in, and those that they may lie in for want of an altitude."""
        rows, parts, known = self.table.volumes(lon, lat, heights)
        features = self._feature[parts]
        if self._mixed.any():
            rows, features, known = self._joined_halves(rows, features, known)
        if self._hours and time_ns is not None:
            awake = self._awake(features, time_ns[rows])
            rows, features, known = rows[awake], features[awake], known[awake]
        return _Hits(rows[known], features[known]), _Hits(rows[~known], features[~known])

    def _joined_halves(
        self, rows: NDArray[np.int64], features: NDArray[np.int64], known: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        order = np.lexsort((features, rows))
        rows, features, known = rows[order], features[order], known[order]
        twin = np.zeros(len(rows), dtype=np.bool_)
        twin[1:] = (rows[1:] == rows[:-1]) & (features[1:] == features[:-1])
        first = np.append(twin[1:], False)
        known[first] &= known[np.flatnonzero(first) + 1]
        keep = ~twin & (first | ~self._mixed[features])
        return rows[keep], features[keep], known[keep]

    def _awake(self, features: NDArray[np.int64], time_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pairs are of a volume that is active at that time."""
        awake = np.ones(len(features), dtype=np.bool_)
        for feature in np.unique(features[self._limited[features]]).tolist():
            pairs = features == feature
            awake[pairs] = self._hours[feature].active(time_ns[pairs])
        return awake


class _Roads(_Features):
    """Features that one can be near, in the city's metric frame."""

    def __init__(
        self, layers: Sequence[Layer], frame: MetricFrame, tables: TableCache | None
    ) -> None:
        super().__init__(layers)

        def build() -> NearestTable:
            lines = frame.geometry_to_metric(_geometries(layers))
            return NearestTable(lines, MAX_ROAD_DISTANCE_M)

        made_of = [_versions(layers), frame.epsg, MAX_ROAD_DISTANCE_M]
        self.table = tables.get(NearestTable, made_of, build) if tables and len(self) else build()


class _Hits(NamedTuple):
    """Pairs of rows and features, sorted by row."""

    rows: NDArray[np.int64]
    features: NDArray[np.int64]

    def of_row(self, row: int) -> list[int]:
        start, end = np.searchsorted(self.rows, (row, row + 1))
        found: list[int] = self.features[start:end].tolist()
        return found

    def by_row(self, count: int, ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Ids of the features of each of ``count`` rows; most rows have none."""
        found: list[tuple[str, ...]] = [()] * count
        for row, feature in zip(self.rows.tolist(), self.features.tolist(), strict=True):
            found[row] += (ids[feature],)
        return found


class Tags:
    """What the map says of the rows of a batch. Made by :class:`Tagger`.

    Attributes:
        layer_versions: Version of every layer that was asked, by layer id.
        road_distance_m: Shape (n,), NaN where no road is near.
    """

    def __init__(
        self,
        tagger: Tagger,
        lon_deg: NDArray[np.float64],
        lat_deg: NDArray[np.float64],
        areas: NDArray[np.int64],
        road: NDArray[np.int64],
        road_distance_m: NDArray[np.float64],
        zones: _Hits,
        airspaces: _Hits,
        unsure: _Hits,
    ) -> None:
        self._tagger = tagger
        self._lon_deg = lon_deg
        self._lat_deg = lat_deg
        self._areas = areas
        self._road = road
        self.road_distance_m = road_distance_m
        self._zones = zones
        self._airspaces = airspaces
        self._unsure = unsure
        self.layer_versions = tagger.layer_versions

    def __len__(self) -> int:
        return len(self._lon_deg)

    def in_zone(self, kind: str) -> NDArray[np.bool_]:
        """Which rows lie in a zone of a kind, shape (n,); False where the place is unknown."""
        return self._mask(self._zones, self._tagger.zone_features.of_kind(kind))

    def in_airspace(self, kind: str) -> NDArray[np.bool_]:
        """Which rows lie in a volume of a kind, shape (n,), by place and by altitude.

        False where the altitude is not known in the volume's datum, see
        :meth:`airspace_unsure`.
        """
        return self._mask(self._airspaces, self._tagger.airspace_features.of_kind(kind))

    def airspace_unsure(self, kind: str) -> NDArray[np.bool_]:
        """Which rows are over or under a volume of a kind with no altitude to compare."""
        return self._mask(self._unsure, self._tagger.airspace_features.of_kind(kind))

    @property
    def road_features_of_rows(self) -> NDArray[np.int64]:
        """Which road of the tagger is near each row, shape (n,); -1 where none is."""
        return self._road

    def airspaces_unsure(self, row: int) -> tuple[str, ...]:
        """Ids of the volumes over or under a row that its altitudes cannot be compared with."""
        ids = self._tagger.airspace_features.ids
        return tuple(ids[feature] for feature in self._unsure.of_row(row))

    def zones(self, row: int) -> tuple[str, ...]:
        """Ids of the zones that a row lies in, in feature order."""
        ids = self._tagger.zone_features.ids
        return tuple(ids[feature] for feature in self._zones.of_row(row))

    def airspaces(self, row: int) -> tuple[str, ...]:
        """Ids of the volumes that a row lies in, in feature order."""
        ids = self._tagger.airspace_features.ids
        return tuple(ids[feature] for feature in self._airspaces.of_row(row))

    def zone_lists(self) -> list[tuple[str, ...]]:
        """Ids of the zones of every row, in feature order."""
        return self._zones.by_row(len(self), self._tagger.zone_features.ids)

    def airspace_lists(self) -> list[tuple[str, ...]]:
        """Ids of the volumes of every row, in feature order."""
        return self._airspaces.by_row(len(self), self._tagger.airspace_features.ids)

    def area_codes(self) -> list[str | None]:
        """The finest area code known of each row; its beginnings are those of wider areas."""
        found = np.full(len(self), None, dtype=object)
        # The widest first, so that what is finer takes its place.
        levels = zip(self._areas.T[::-1], self._tagger.level_codes[::-1], strict=True)
        for features, codes in levels:
            known = features != _NONE
            known[known] = codes[features[known]] != ""
            found[known] = codes[features[known]]
        codes_of_rows: list[str | None] = found.tolist()
        return codes_of_rows

    def road_names(self) -> list[str | None]:
        """The name of the road near each row."""
        names = self._tagger.road_features.names
        return [None if road == _NONE else names[road] or None for road in self._road.tolist()]

    def place(
        self,
        row: int,
        lon_deg: float | None = None,
        lat_deg: float | None = None,
        error_major_m: float | None = None,
        error_minor_m: float | None = None,
        error_azimuth_deg: float | None = None,
    ) -> Place:
        """All that is known of one row.

        Args:
            row: Number of the row in the batch.
            lon_deg: Position to write down, WGS 84 degrees; the one that was tagged unless
                given.
            lat_deg: Likewise.
            error_major_m: One-sigma error ellipse; None or NaN where unknown.
            error_minor_m: Likewise.
            error_azimuth_deg: Likewise.
        """
        tagger = self._tagger
        codes, area_name, generated = tagger.area_of(self._areas[row])
        road = int(self._road[row])
        lon = _number(self._lon_deg[row] if lon_deg is None else lon_deg)
        lat = _number(self._lat_deg[row] if lat_deg is None else lat_deg)
        return Place(
            lon_deg=lon,
            lat_deg=lat,
            error_major_m=_number(error_major_m),
            error_minor_m=_number(error_minor_m),
            error_azimuth_deg=_number(error_azimuth_deg),
            grid_code=codes[0],
            community_code=codes[1],
            street_code=codes[2],
            district_code=codes[3],
            generated=generated,
            area_name=area_name,
            road_name=None if road == _NONE else tagger.road_features.names[road] or None,
            road_distance_m=_number(self.road_distance_m[row]),
            zones=self.zones(row),
            airspaces=self.airspaces(row),
            unplaced=self._unplaced(row, any(codes)),
            layer_versions=self.layer_versions,
        )

    def _unplaced(self, row: int, placed: bool) -> str | None:
        if placed:
            return None
        if np.isnan(self._lon_deg[row]):
            return "no_position"
        return "outside_city" if self._tagger.has_areas else "no_area_layer"

    def _mask(self, hits: _Hits, wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[hits.rows[wanted[hits.features]]] = True
        return mask


class Tagger:
    """Asks a city's layers about positions.

    Args:
        city: The city; its layers are indexed here, once.
        tables: Where the indexes are kept from one start to the next; nowhere unless given.

    Example:
        >>> from geo.city import generate_city
        >>> tags = Tagger(generate_city(7)).tag(np.array([120.3846, np.nan]), np.array([36.06, 36]))
        >>> place = tags.place(0)
        >>> place.district_code, len(place.grid_code), tags.place(1).unplaced
        ('370202', 15, 'no_position')
    """

    def __init__(self, city: City, tables: TableCache | None = None) -> None:
        self._frame = city.frame
        self._levels = [_Areas(city.layers_of(role), tables) for role, _ in _LEVELS]
        self.level_codes = [
            np.array([code or "" for code in level.codes], dtype=object) for level in self._levels
        ]
        self.has_areas = any(len(level) for level in self._levels)
        self.grid_features = self._levels[0]
        self.zone_features = _Areas(city.layers_of(LayerRole.ZONE), tables)
        self.airspace_features = _Volumes(city.layers_of(LayerRole.AIRSPACE), tables)
        self.road_features = _Roads(city.layers_of(LayerRole.ROAD), self._frame, tables)
        asked = {role for role, _ in _LEVELS} | {
            LayerRole.ZONE,
            LayerRole.AIRSPACE,
            LayerRole.ROAD,
        }
        self.layer_versions: dict[str, str] = {
            layer.id: layer.version for layer in city.layers.values() if layer.role in asked
        }
        self._parents = [
            self._parents_of(level, digits) for level, (_, digits) in enumerate(_LEVELS)
        ]
        self._areas: dict[tuple[int, ...], tuple[tuple[str | None, ...], str, bool]] = {}

    def tag(
        self,
        lon_deg: NDArray[np.float64],
        lat_deg: NDArray[np.float64],
        altitudes: Mapping[AltitudeDatum, NDArray[np.float64]] | None = None,
        time_ns: NDArray[np.int64] | None = None,
    ) -> Tags:
        """Tag a batch.

        Args:
            lon_deg: Shape (n,), WGS 84 degrees, NaN where unknown; n may be 0.
            lat_deg: Shape (n,).
            altitudes: Metres by datum, each of shape (n,), NaN where unknown.
            time_ns: When, UTC nanoseconds, shape (n,), for airspace with hours; without it every
                volume counts as active.

        Raises:
            GeometryError: The arrays have different shapes.
        """
        lon = np.array(lon_deg, dtype=np.float64)
        lat = np.array(lat_deg, dtype=np.float64)
        if lon.ndim != 1 or lon.shape != lat.shape:
            raise GeometryError(
                f"lon_deg and lat_deg must have one shape (n,), got {lon.shape} and {lat.shape}"
            )
        for datum, heights in (altitudes or {}).items():
            if np.shape(heights) != lon.shape:
                raise GeometryError(
                    f"altitudes[{datum.value}] must have shape {lon.shape}, got {np.shape(heights)}"
                )
        known = np.isfinite(lon) & np.isfinite(lat)
        lon[~known] = np.nan
        lat[~known] = np.nan
        road, road_distance_m = self._nearest_road(lon, lat)
        inside, unsure = self._in_volumes(lon, lat, altitudes or {}, time_ns)
        return Tags(
            self,
            lon,
            lat,
            self._find_areas(lon, lat),
            road,
            road_distance_m,
            self._in_zones(lon, lat),
            inside,
            unsure,
        )

    def area_of(self, levels: NDArray[np.int64]) -> tuple[tuple[str | None, ...], str, bool]:
        """Codes (finest first), name and whether the grid is generated.

        Args:
            levels: Shape (4,), the feature of each level, the finest first; -1 for none.
        """
        key = tuple(levels.tolist())
        area = self._areas.get(key)
        if area is None:
            # Keys are chains of features of the map, so the cache is bounded by the map.
            codes: list[str | None] = []
            names: list[str] = []
            for features, index in zip(self._levels, key, strict=True):
                codes.append(None if index == _NONE else features.codes[index] or None)
                names.append("" if index == _NONE else features.names[index])
            generated = key[0] != _NONE and self._levels[0].generated[key[0]]
            text = "·".join(name for name in reversed(names[1:]) if name)
            area = self._areas[key] = (tuple(codes), text, generated)
        return area

    def _find_areas(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.int64]:
        """Features by level, shape (n, 4), finest first.

        A level is asked only for the rows that a finer level has not placed already, so the
        levels of a place always fit together, on borders too.
        """
        areas = np.full((len(lon), len(_LEVELS)), _NONE, dtype=np.int64)
        for level, features in enumerate(self._levels):
            if not len(features):
                continue
            open_rows = np.flatnonzero(areas[:, level] == _NONE)
            if not len(open_rows):
                continue
            found = features.table.first(lon[open_rows], lat[open_rows])
            hit = found != _NONE
            where = open_rows[hit]
            areas[where, level] = found[hit]
            parents = self._parents[level][found[hit]]
            for upper in range(level + 1, len(_LEVELS)):
                parent = parents[:, upper]
                fresh = (areas[where, upper] == _NONE) & (parent != _NONE)
                areas[where[fresh], upper] = parent[fresh]
        return areas

    def _parents_of(self, level: int, digits: int) -> NDArray[np.int64]:
        """For each feature of a level, the features whose codes are prefixes of its own."""
        features = self._levels[level]
        parents = np.full((len(features), len(_LEVELS)), _NONE, dtype=np.int64)
        for upper in range(level + 1, len(_LEVELS)):
            length = _LEVELS[upper][1]
            index: dict[str, int] = {}
            for number, code in enumerate(self._levels[upper].codes):
                index.setdefault(code, number)
            for number, code in enumerate(features.codes):
                if len(code) == digits:
                    parents[number, upper] = index.get(code[:length], _NONE)
        return parents

    def _nearest_road(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not len(self.road_features):
            return np.full(len(lon), _NONE, dtype=np.int64), np.full(len(lon), np.nan)
        return self.road_features.table.nearest(*self._frame.to_metric(lon, lat))

    def _in_zones(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> _Hits:
        return _Hits(*self.zone_features.table.pairs(lon, lat))

    def _in_volumes(
        self,
        lon: NDArray[np.float64],
        lat: NDArray[np.float64],
        altitudes: Mapping[AltitudeDatum, NDArray[np.float64]],
        time_ns: NDArray[np.int64] | None,
    ) -> tuple[_Hits, _Hits]:
        """Volumes that rows lie in, and those they may lie in for want of an altitude."""
        heights = np.full((len(_DATUMS), len(lon)), np.nan)
        for row, datum in enumerate(_DATUMS):
            for source in (datum, _STANDS_IN.get(datum)):
                column = None if source is None else altitudes.get(source)
                if column is not None:
                    np.copyto(heights[row], column, where=np.isnan(heights[row]))
        return self.airspace_features.find(lon, lat, heights, time_ns)


def _geometries(layers: Sequence[Layer]) -> NDArray[np.object_]:
    return np.concatenate([np.empty(0, dtype=object), *(layer.geometries for layer in layers)])


def _versions(layers: Sequence[Layer]) -> list[str]:
    """Hashes of the layers' content, in order: all that an index of them depends on."""
    return [layer.version for layer in layers]


def _joined(layers: Sequence[Layer], column: str) -> list[Any]:
    return [value for layer in layers for value in layer.column(column)]


def _number(value: float | None) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    return float(value)
