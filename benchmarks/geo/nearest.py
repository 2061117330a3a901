"""The nearest road within reach, in the country and in town."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import shapely

from benchmarks.geo.joins import Ints
from benchmarks.geo.made import SIDE_M, Floats, Shapes, roads
from benchmarks.harness import Figure, against, at_most, median_seconds
from geo.cells import NearestTable

REACH_M = 50.0

_TREE_GOAL = 30.0
_POSTGIS_GOAL = 80.0

#: Rounding may differ in the last places between GEOS of the wheel and of Debian.
_SAME_M = 1e-9


_NEAREST = (
    "CREATE UNLOGGED TABLE answer AS SELECT row, piece, away FROM places, LATERAL ("
    "SELECT piece, place <-> shape AS away FROM pieces WHERE ST_DWithin(place, shape, 50.0) "
    "ORDER BY place <-> shape LIMIT 1) one"
)


class PostgisNearest:
    """The nearest piece by the index' order, within reach, for each point; the best it has."""

    def __init__(
        self, connection: psycopg.Connection[Any], x: Floats, y: Floats, pieces: Shapes
    ) -> None:
        self._connection = connection
        self._count = len(x)
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS pieces, pieces_in, places, places_in, answer")
            cursor.execute("CREATE UNLOGGED TABLE pieces_in (piece int, wkb bytea)")
            cursor.execute("CREATE UNLOGGED TABLE places_in (row int, x float8, y float8)")
            with cursor.copy("COPY pieces_in FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "bytea"])
                for number, wkb in enumerate(shapely.to_wkb(pieces)):
                    copy.write_row((number, wkb))
            with cursor.copy("COPY places_in FROM STDIN") as copy:
                lines = zip(range(len(x)), x.tolist(), y.tolist(), strict=True)
                copy.write("".join(f"{row}\t{east!r}\t{north!r}\n" for row, east, north in lines))
            for query in (
                (
                    "CREATE UNLOGGED TABLE pieces AS SELECT piece, ST_GeomFromWKB(wkb) AS shape "
                    "FROM pieces_in"
                ),
                "CREATE INDEX ON pieces USING gist (shape)",
                (
                    "CREATE UNLOGGED TABLE places AS SELECT row, ST_MakePoint(x, y) AS place "
                    "FROM places_in"
                ),
                "ANALYZE pieces",
                "ANALYZE places",
            ):
                cursor.execute(query)

    def run(self) -> None:
        """Ask for all points, into a table."""
        with self._connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS answer")
            cursor.execute(_NEAREST)

    def distances(self) -> Floats:
        """Of the last run, NaN for none."""
        with self._connection.cursor(binary=True) as cursor:
            cursor.execute("SELECT row, away FROM answer")
            found = np.array(cursor.fetchall(), dtype=np.float64).reshape(-1, 2)
        away = np.full(self._count, np.nan)
        away[found[:, 0].astype(np.int64)] = found[:, 1]
        return away


def bench_roads(
    rounds: int,
    points: int,
    segments: int,
    postgis: psycopg.Connection[Any] | None,
    rng: np.random.Generator,
) -> tuple[list[Figure], int]:
    """Against the tree, and in town also against PostGIS."""
    figures, wrong = [], 0
    side_m = SIDE_M * (segments / 100_000) ** 0.5
    for name, part, server in (("sparse", 1.0, None), ("dense", 0.2, postgis)):
        more, bad = _bench_town(rounds, points, segments, side_m * part, name, server, rng)
        figures += more
        wrong += bad
    return figures, wrong


def _bench_town(
    rounds: int,
    points: int,
    segments: int,
    side_m: float,
    name: str,
    postgis: psycopg.Connection[Any] | None,
    rng: np.random.Generator,
) -> tuple[list[Figure], int]:
    lines = roads(segments, rng, side_m)
    x, y = rng.uniform(0, side_m, (2, points))
    table = NearestTable(lines, REACH_M)
    # One tree entry for each piece, as is best for the tree.
    ends = shapely.get_coordinates(lines).reshape(len(lines), -1, 2)
    joints = np.stack([ends[:, :-1], ends[:, 1:]], axis=2).reshape(-1, 2, 2)
    pieces = np.asarray(shapely.linestrings(joints), dtype=object)
    tree = shapely.STRtree(pieces)
    owners = np.repeat(np.arange(len(lines)), ends.shape[1] - 1)
    answers: dict[str, tuple[Ints, Floats]] = {}

    def ours() -> None:
        answers["ours"] = table.nearest(x, y)

    def theirs() -> None:
        (rows, found), away = tree.query_nearest(
            shapely.points(x, y), max_distance=REACH_M, return_distance=True, all_matches=True
        )
        nearest = np.full(len(x), -1, dtype=np.int64)
        distance = np.full(len(x), np.nan)
        order = np.lexsort((found, rows))[::-1]
        nearest[rows[order]] = owners[found[order]]
        distance[rows[order]] = away[order]
        answers["theirs"] = nearest, distance

    works = [ours, theirs]
    server = None if postgis is None else PostgisNearest(postgis, x, y, pieces)
    if server is not None:
        works.append(server.run)
    our_s, *their_s = median_seconds(rounds, *works)
    (our_roads, our_m), (their_roads, their_m) = answers["ours"], answers["theirs"]
    same = (our_roads == their_roads) & ((our_m == their_m) | (np.isnan(our_m) & np.isnan(their_m)))
    wrong = int((~same).sum())
    label = f"nearest road, {segments:,} pieces, {name}"
    figures = [against(label, points, our_s, "STRtree.query_nearest", their_s[0], _TREE_GOAL)]
    if server is not None:
        figures.append(against(label, points, our_s, "PostGIS <->", their_s[1], _POSTGIS_GOAL))
        away = server.distances()
        wrong += int((np.isnan(away) != np.isnan(our_m)).sum())
        wrong += int((np.abs(away - our_m) > _SAME_M).sum())
    figures.append(at_most("  table size", table.nbytes / 1e6, "MB", 200.0))
    return figures, wrong
