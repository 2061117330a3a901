"""Layers that live in a PostGIS table."""

from __future__ import annotations

import re

import geopandas as gpd
import numpy as np
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from core.errors import LayerError
from geo.sources.table import SourceTable

#: What a table may be called: ``table`` or ``schema.table``, plain words.
_NAME = re.compile(r"[^\W\d]\w{0,62}(\.[^\W\d]\w{0,62})?")

#: A layer is read whole; more rows than this are no layer of a city.
MAX_ROWS = 2_000_000


def is_database(location: str) -> bool:
    """Whether a layer's location is a database.

    Example:
        >>> is_database("postgresql://me@host/city"), is_database("grids.gpkg")
        (True, False)
    """
    return location.startswith(("postgresql://", "postgresql+psycopg://"))


def read_layer_table(url: str, table: str | None) -> SourceTable:
    """Read a table with one geometry column, in the CRS of its SRID.

    Args:
        url: ``postgresql://user:password@host/database``.
        table: ``table`` or ``schema.table``.

    Returns:
        All of its rows; ``declared`` is None where the SRID is 0.

    Raises:
        LayerError: There is no such database or table, or it has no geometry column, or more
            rows than a layer can have; the message never holds the password.
    """
    try:
        address = make_url(url).set(drivername="postgresql+psycopg")
    except ArgumentError as exc:
        raise LayerError(f"layer: postgresql://user@host/database was wanted: {exc}") from exc
    where = f"{address.render_as_string(hide_password=True)} table {table}"
    if table is None or not _NAME.fullmatch(table):
        raise LayerError(f"{where}: a table, or schema.table, was wanted")
    schema, _, name = table.rpartition(".")
    engine = create_engine(address)
    try:
        with engine.connect() as connection:
            found = connection.execute(
                text(
                    "SELECT f_table_schema, f_geometry_column FROM geometry_columns "
                    "WHERE f_table_name = :name AND (:schema = '' OR f_table_schema = :schema)"
                ),
                {"name": name, "schema": schema},
            ).all()
            if len(found) != 1:
                raise LayerError(
                    f"{where}: one geometry column was wanted, the database has {len(found)}"
                )
            quote = connection.dialect.identifier_preparer.quote
            rows = f"{quote(found[0][0])}.{quote(name)}"
            frame = gpd.read_postgis(
                text(f"SELECT * FROM {rows} LIMIT {MAX_ROWS + 1}"),  # noqa: S608 (quoted names)
                connection,
                geom_col=found[0][1],
            )
    except SQLAlchemyError as exc:
        reason = str(getattr(exc, "orig", None) or exc).splitlines()[0]
        raise LayerError(f"{where}: cannot be read: {reason}") from exc
    finally:
        engine.dispose()
    if len(frame) > MAX_ROWS:
        raise LayerError(f"{where}: at most {MAX_ROWS:,} rows were wanted, there are more")
    return SourceTable(
        where=where,
        columns=frame.drop(columns=frame.geometry.name),
        shapes=np.asarray(frame.geometry.values, dtype=object),
        declared=frame.crs,
    )
