"""Connections to the case store's database: one writer, many readers, one dialect or the other."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, Table, create_engine, event, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from core.errors import ServiceError, SettingsError
from store import tables

#: Readers that may work at once; further ones wait for a connection.
READERS = 8

#: Longest wait for a lock or a connection before the database counts as failed.
WAIT_S = 30

#: How often the writer's log is moved into the SQLite file, beside the writer and not in it.
CHECKPOINT_S = 2.0

#: The write-ahead log is emptied when it has grown past this many pages of 4 KiB (64 MiB).
WAL_PAGES = 16_384

_MIGRATIONS = Path(__file__).parent / "migrations"

#: Number of the lock that a migration holds; any that nobody else of this database takes.
_MIGRATION_LOCK = 7_136_402


#: Most keys that one query asks for; SQLite takes no more variables than 32,766.
_KEYS_PER_QUERY = 10_000


def migrate(url: str) -> None:
    """Bring a database to the newest schema; does nothing where it is there already.

    Args:
        url: ``sqlite:////absolute/path`` or ``postgresql+psycopg://user@host/database``.

    Raises:
        SettingsError: The URL is of another kind.
        ServiceError: The database cannot be reached or refuses.
    """
    engine = _open_writer(_parse(url))
    try:
        with failures("migrating"), engine.connect() as connection:
            migrate_connection(connection)
            connection.commit()
    finally:
        engine.dispose()


def migrate_connection(connection: Connection) -> None:
    """Run the migrations on a connection; the caller commits."""
    if connection.dialect.name == "postgresql":
        # Services start together: one makes the schema, the others then find it made.
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def failures(doing: str) -> Iterator[None]:
    """Turn what the database raises into a ServiceError that says what was being done."""
    try:
        yield
    except DBAPIError as exc:
        raise ServiceError(f"case store, {doing}: {exc.orig}") from exc
    except SQLAlchemyError as exc:
        raise ServiceError(f"case store, {doing}: {exc}") from exc


class Database:
    """One writer connection, a pool of read-only readers.

    With SQLite a thread moves the write-ahead log into the file every few seconds, so that
    no commit has to wait for it. With PostgreSQL several processes may write; their
    transactions are serialised by a lock on the feed's counter, so the feed has one order.

    Args:
        url: As for :func:`migrate`; the database must have been migrated.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self._url = parsed
        self.dialect = parsed.get_backend_name()
        self._writer = _open_writer(parsed)
        self._readers = _open_readers(parsed)
        self._upserts: dict[tuple[Any, ...], tuple[str, list[str] | None]] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._checkpointer: threading.Thread | None = None
        if self.dialect == "sqlite":
            self._checkpointer = threading.Thread(
                target=self._checkpoint_until_closed, name="store-checkpoint", daemon=True
            )
            self._checkpointer.start()

    def close(self) -> None:
        """Close every connection."""
        self._closed.set()
        if self._checkpointer is not None:
            self._checkpointer.join()
        self._readers.dispose()
        self._writer.dispose()

    @contextmanager
    def write(self, doing: str) -> Iterator[Connection]:
        """A transaction of the one writer; commits at the end, rolls back on an error.

        Raises:
            ServiceError: The database failed; nothing was written.
        """
        with self._lock, failures(doing), self._writer.begin() as connection:
            # Locks the row on PostgreSQL, so that writers of several processes take turns;
            # SQLite has its file lock from BEGIN IMMEDIATE.
            connection.execute(_LOCK_FEED)
            yield connection

    @contextmanager
    def read(self, doing: str) -> Iterator[Connection]:
        """A read-only connection that sees one state of the database.

        Raises:
            ServiceError: The database failed.
        """
        with failures(doing), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def alone(self, lock: int) -> Iterator[bool]:
        """Hold a numbered lock of the server among processes; False where another holds it.

        It is free again when the block or the connection ends, however that comes. SQLite is
        used by one process, which is alone.

        Raises:
            ServiceError: The database failed.
        """
        if self.dialect != "postgresql":
            yield True
            return
        # Outside any transaction: one that stays open keeps the server from tidying up.
        engine = create_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            with failures("asking to be alone"), engine.connect() as connection:
                yield bool(connection.scalar(select(func.pg_try_advisory_lock(lock))))
        finally:
            engine.dispose()

    def upsert(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        *,
        newer: str | None = None,
    ) -> None:
        """Insert rows, or replace those with the same primary key.

        Args:
            connection: Of a write transaction.
            table: Where to.
            rows: All with the same columns, no primary key twice.
            newer: Replace only where this column is not smaller than what is there.
        """
        if not rows:
            return
        text, order = self._upsert(table, tuple(rows[0]), newer)
        # The drivers take our values as they are; SQLAlchemy would look at each on its way.
        given: list[Any] = list(rows)
        if order is not None:
            given = [tuple(map(row.__getitem__, order)) for row in rows]
        connection.exec_driver_sql(text, given)

    def _upsert(
        self, table: Table, columns: tuple[str, ...], newer: str | None
    ) -> tuple[str, list[str] | None]:
        """The statement in the driver's own words, and the order of its values if they have no
        names; made once.
        """
        key = (table.name, columns, newer)
        if key not in self._upserts:
            make = postgresql.insert if self.dialect == "postgresql" else sqlite.insert
            statement = make(table)
            keys = [column.name for column in table.primary_key]
            values = {name: statement.excluded[name] for name in columns if name not in keys}
            where = None if newer is None else statement.excluded[newer] >= table.c[newer]
            made = statement.on_conflict_do_update(
                index_elements=keys, set_=values, where=where
            ).compile(dialect=self._writer.dialect, column_keys=list(columns))
            self._upserts[key] = (str(made), made.positiontup)
        return self._upserts[key]

    def insert_new(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Insert rows; those whose key is there already stay as they are."""
        if not rows:
            return
        make = postgresql.insert if self.dialect == "postgresql" else sqlite.insert
        connection.execute(make(table).on_conflict_do_nothing(), list(rows))

    def checkpoint(self) -> None:
        """Move SQLite's write-ahead log into the file, as far as no reader needs it."""
        # A connection of its own: a checkpoint must not run inside a transaction.
        connection = self._readers.raw_connection()
        try:
            cursor = connection.cursor()
            _, pages, _ = cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > WAL_PAGES:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            cursor.close()
        finally:
            connection.close()

    def _checkpoint_until_closed(self) -> None:
        while not self._closed.wait(CHECKPOINT_S):
            # A failed checkpoint is only put off: the log stays and the next one takes it.
            try:
                self.checkpoint()
            except (SQLAlchemyError, sqlite3.Error):
                continue


_LOCK_FEED = (
    select(tables.counters.c.value).where(tables.counters.c.name == "feed").with_for_update()
)


def next_numbers(connection: Connection, name: str, count: int) -> int:
    """Take ``count`` numbers of a named counter; gives the last of them.

    The counter's row must have been made by a migration.
    """
    column = tables.counters.c.value
    statement = (
        tables.counters.update()
        .where(tables.counters.c.name == name)
        .values(value=column + count)
        .returning(column)
    )
    return int(connection.execute(statement).scalar_one())


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all with the same columns."""
    if rows:
        connection.execute(insert(table), list(rows))


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Keys in pieces that one query can ask for."""
    for first in range(0, len(keys), _KEYS_PER_QUERY):
        yield keys[first : first + _KEYS_PER_QUERY]


def _parse(url: str) -> URL:
    wanted = "sqlite:////path/to/file or postgresql+psycopg://user@host/database was wanted"
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise SettingsError(f"store: {wanted}, got {url!r}") from exc
    shown = parsed.render_as_string(hide_password=True)
    if parsed.drivername == "postgresql+psycopg":
        return parsed
    if parsed.get_backend_name() != "sqlite":
        raise SettingsError(f"store: {wanted}, got {shown!r}")
    if not parsed.database or parsed.database == ":memory:":
        raise SettingsError(
            f"store: a file was wanted, because readers open it beside the writer, got {shown!r}"
        )
    return parsed


def _open_writer(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_size=1, max_overflow=1, pool_pre_ping=True)
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=1,
        connect_args={"check_same_thread": False, "timeout": WAIT_S},
    )
    # FULL, because what is committed here is acknowledged to the log; the checkpoint is left
    # to its own thread, because inside a commit it costs tens of milliseconds.
    _prepare_sqlite(
        engine,
        "BEGIN IMMEDIATE",
        ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0"),
    )
    return engine


def _open_readers(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url, pool_size=READERS, max_overflow=0, pool_timeout=WAIT_S)
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    engine = create_engine(
        f"sqlite:///file:{quote(str(url.database))}?uri=true",
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=WAIT_S,
        connect_args={"check_same_thread": False, "timeout": WAIT_S},
    )
    _prepare_sqlite(engine, "BEGIN", ("query_only = ON", "cache_size = -8000"))
    return engine


def _prepare_sqlite(engine: Engine, begin: str, pragmas: Sequence[str]) -> None:
    """Take transactions into our own hands and set each new connection's pragmas."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # The driver would begin late and commit on its own.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
