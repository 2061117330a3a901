"""Layers of a PostGIS database."""

from __future__ import annotations

from collections.abc import Iterator

import geopandas as gpd
import pytest
import shapely
from servers import PostgresServer
from sqlalchemy import Engine, create_engine, text
from typer.testing import CliRunner

from cli import app
from core.city import LayerRole
from core.errors import LayerError
from geo.layers import layer_of_source
from store.layer_tables import read_layer_table

pytestmark = pytest.mark.postgres


@pytest.fixture
def engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    engine = create_engine(postgres_server.url())
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS postgis"))
        connection.execute(text('DROP TABLE IF EXISTS "网格"; DROP TABLE IF EXISTS plain'))
    yield engine
    engine.dispose()


def test_a_table_becomes_a_layer(engine: Engine, postgres_server: PostgresServer) -> None:
    boxes = [shapely.box(120.0, 36.0, 120.1, 36.1), shapely.box(120.1, 36.0, 120.2, 36.1)]
    frame = gpd.GeoDataFrame(
        {"code": ["370202", "370203"], "name": ["甲", "乙"]}, geometry=boxes, crs=4326
    ).to_crs(4549)
    with engine.begin() as connection:
        frame.to_postgis("网格", connection)
    source = read_layer_table(str(postgres_server.url()), "public.网格")
    layer = layer_of_source(source, id="grids", role=LayerRole.DISTRICT)
    assert layer.column("code") == ["370202", "370203"]
    assert layer.crs == "EPSG:4549"
    assert shapely.get_coordinates(layer.geometries).max(axis=0).round(6).tolist() == [120.2, 36.1]
    result = CliRunner().invoke(
        app, ["geo", "check", str(postgres_server.url()), "--layer-name", "网格"]
    )
    assert result.exit_code == 0, result.output
    assert "district, 2 features, read as EPSG:4549" in result.output


def test_what_is_no_layer_is_named(engine: Engine, postgres_server: PostgresServer) -> None:
    url = str(postgres_server.url())
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE plain (id int)"))
    for table, message in (
        ("plain", "one geometry column was wanted, the database has 0"),
        ("a; drop table b", "a table, or schema.table, was wanted"),
        (None, "a table, or schema.table, was wanted"),
    ):
        with pytest.raises(LayerError, match=message):
            read_layer_table(url, table)


def test_no_database_is_told_without_the_password() -> None:
    with pytest.raises(LayerError, match="cannot be read") as caught:
        read_layer_table("postgresql://me:secret@127.0.0.1:1/none", "grids")
    assert "secret" not in str(caught.value)
