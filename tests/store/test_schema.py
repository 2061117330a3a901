"""The migrations lead to the tables that the code speaks of, and run twice without harm."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from store import tables
from store.database import migrate


def test_migrated_schema_is_the_declared_one(store_url: str) -> None:
    migrate(store_url)
    engine = create_engine(store_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()
