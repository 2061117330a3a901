"""Points to zones by what else there is: GeoPandas, SedonaDB, DuckDB, PostGIS.

Each takes points and zones once, as its own tables, and is then asked for the join alone; the
answer it gave last is read apart from the time it took.
"""

from __future__ import annotations

import importlib.resources
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import geopandas as gpd
import numpy as np
import psycopg
import pytest
import shapely
from numpy.typing import NDArray

from benchmarks.geo.made import Floats, Shapes
from tests.servers import start_postgres

Ints = NDArray[np.int64]

#: As many as this kind of machine has cores.
THREADS = 2

#: More than the default, which is for machines of twenty years ago.
_POSTGRES = ("shared_buffers=512MB", "work_mem=128MB", "jit=off")


class UnavailableError(Exception):
    """A peer that cannot be had here, and why."""


class Join(Protocol):
    """One way to join."""

    name: str

    def run(self) -> None:
        """Join all points to the zones; what is timed."""
        ...

    def answer(self) -> Ints:
        """The zone of each point of the last run, -1 for none, shape (n,)."""
        ...


def _found(count: int, rows: Any, features: Any) -> Ints:
    found = np.full(count, -1, dtype=np.int64)
    found[np.asarray(rows, dtype=np.int64)] = np.asarray(features, dtype=np.int64)
    return found


class GeoPandasJoin:
    """``geopandas.sjoin``, its index made before."""

    name = "geopandas.sjoin"

    def __init__(self, x: Floats, y: Floats, shapes: Shapes) -> None:
        self._zones = gpd.GeoDataFrame(geometry=shapes)
        self._points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(x, y))
        assert self._zones.sindex is not None

    def run(self) -> None:
        """Join."""
        self._joined = gpd.sjoin(self._points, self._zones, how="inner", predicate="within")

    def answer(self) -> Ints:
        """Of the last run."""
        return _found(len(self._points), self._joined.index, self._joined["index_right"])


class SedonaJoin:
    """SedonaDB's join in SQL."""

    name = f"SedonaDB, {THREADS} threads"

    def __init__(self, x: Floats, y: Floats, shapes: Shapes) -> None:
        try:
            import sedonadb
        except ImportError as error:
            raise UnavailableError(
                "SedonaDB: no wheel here; make .venv/.bench installs it"
            ) from error
        self._count = len(x)
        self._context = sedonadb.connect()
        self._context.sql(f"SET datafusion.execution.target_partitions = {THREADS}").to_pandas()
        frames = {
            "zones": gpd.GeoDataFrame({"zone": np.arange(len(shapes))}, geometry=shapes),
            "points": gpd.GeoDataFrame(
                {"row": np.arange(len(x))}, geometry=gpd.points_from_xy(x, y)
            ),
        }
        for name, frame in frames.items():
            self._context.create_data_frame(frame).to_memtable().to_view(name)

    def run(self) -> None:
        """Join."""
        query = (
            "SELECT points.row, zones.zone FROM points "
            "JOIN zones ON ST_Within(points.geometry, zones.geometry)"
        )
        self._table = self._context.sql(query).to_arrow_table()

    def answer(self) -> Ints:
        """Of the last run."""
        return _found(self._count, self._table["row"], self._table["zone"])


class DuckdbJoin:
    """DuckDB's SPATIAL_JOIN, its extension from the wheel that packages it."""

    name = f"DuckDB spatial, {THREADS} threads"

    def __init__(self, x: Floats, y: Floats, shapes: Shapes) -> None:
        try:
            import duckdb
            import pyarrow as pa

            folder = importlib.resources.files("duckdb_extension_spatial")
        except ImportError as error:
            reason = "DuckDB spatial: no wheel here; make .venv/.bench installs it"
            raise UnavailableError(reason) from error
        files = Path(str(folder)).rglob("*.duckdb_extension")
        of_version = [one for one in files if one.parent.name == f"v{duckdb.__version__}"]
        if not of_version:
            raise UnavailableError(
                f"DuckDB spatial: the wheel is not for DuckDB {duckdb.__version__}"
            )
        self._count = len(x)
        config = {"allow_unsigned_extensions": "true", "threads": THREADS}
        self._database = duckdb.connect(config=config)
        self._database.execute(f"LOAD '{of_version[0]}'")
        wkb = pa.array(shapely.to_wkb(shapes), pa.binary())
        tables = {
            "zones_in": pa.table({"zone": np.arange(len(shapes)), "wkb": wkb}),
            "points_in": pa.table({"row": np.arange(len(x)), "x": x, "y": y}),
        }
        for name, table in tables.items():
            self._database.register(name, table)
        for query in (
            "CREATE TABLE zones AS SELECT zone, ST_GeomFromWKB(wkb) AS shape FROM zones_in",
            "CREATE TABLE points AS SELECT row, ST_Point(x, y) AS place FROM points_in",
        ):
            self._database.execute(query)

    def run(self) -> None:
        """Join."""
        query = "SELECT row, zone FROM points JOIN zones ON ST_Within(place, shape)"
        self._columns = self._database.execute(query).fetchnumpy()

    def answer(self) -> Ints:
        """Of the last run."""
        return _found(self._count, self._columns["row"], self._columns["zone"])


class PostgisJoin:
    """PostGIS' join by its GiST index, into a table: no client has a part in the time.

    The zones are the inner side of the nested loop, as in a stream that asks for each point.
    """

    name = "PostGIS"

    def __init__(
        self, connection: psycopg.Connection[Any], x: Floats, y: Floats, shapes: Shapes
    ) -> None:
        self._connection = connection
        self._count = len(x)
        with connection.cursor() as cursor:
            for query in (
                "DROP TABLE IF EXISTS zones, zones_in, points, points_in, answer",
                "CREATE UNLOGGED TABLE zones_in (zone int, wkb bytea)",
                "CREATE UNLOGGED TABLE points_in (row int, x float8, y float8)",
            ):
                cursor.execute(query)
            with cursor.copy("COPY zones_in FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "bytea"])
                for number, wkb in enumerate(shapely.to_wkb(shapes)):
                    copy.write_row((number, wkb))
            with cursor.copy("COPY points_in FROM STDIN") as copy:
                rows = np.arange(len(x)).tolist()
                lines = zip(rows, x.tolist(), y.tolist(), strict=True)
                copy.write("".join(f"{row}\t{east!r}\t{north!r}\n" for row, east, north in lines))
            for query in (
                (
                    "CREATE UNLOGGED TABLE zones AS SELECT zone, ST_GeomFromWKB(wkb) AS shape "
                    "FROM zones_in"
                ),
                "CREATE INDEX ON zones USING gist (shape)",
                (
                    "CREATE UNLOGGED TABLE points AS SELECT row, ST_MakePoint(x, y) AS place "
                    "FROM points_in"
                ),
                "ANALYZE zones",
                "ANALYZE points",
            ):
                cursor.execute(query)

    def run(self) -> None:
        """Join."""
        with self._connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS answer")
            cursor.execute(
                "CREATE UNLOGGED TABLE answer AS SELECT row, zone FROM points "
                "JOIN zones ON ST_Contains(shape, place)"
            )

    def answer(self) -> Ints:
        """Of the last run."""
        with self._connection.cursor(binary=True) as cursor:
            cursor.execute("SELECT row, zone FROM answer")
            pairs = np.array(cursor.fetchall(), dtype=np.int64).reshape(-1, 2)
        return _found(self._count, pairs[:, 0], pairs[:, 1])


@contextmanager
def postgis() -> Iterator[psycopg.Connection[Any]]:
    """A PostGIS server of our own, for as long as it is needed.

    Raises:
        UnavailableError: It is not installed.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-geo-")))
        folder.chmod(0o755)
        try:
            server, stop = start_postgres(folder, *_POSTGRES)
        except pytest.skip.Exception as reason:
            raise UnavailableError(f"PostGIS: {reason}") from reason
        stack.callback(stop)
        connection = stack.enter_context(
            psycopg.connect(
                host="127.0.0.1",
                port=server.port,
                user=server.user,
                password=server.password,
                dbname="postgres",
                autocommit=True,
            )
        )
        try:
            connection.execute("CREATE EXTENSION postgis")
        except psycopg.errors.FeatureNotSupported as error:
            raise UnavailableError("PostGIS: install postgresql-15-postgis-3") from error
        yield connection
