"""The outbox: how far each subscriber of the feed has been told, and what it would not take.

The feed itself is bounded (:data:`store.cases.MAX_FEED_LINES`) and waits for nobody. A
subscriber that was away for longer than it keeps goes on with what there is, and the lines
between are counted as lost. All methods block and may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.engine import Connection

from core.errors import NotFoundError
from store import tables
from store.database import Database

#: Dead letters kept of each subscriber, at some 200 bytes; older ones go, their count stays.
MAX_DEAD_LETTERS = 1_000

#: Any number that no other lock of this database has.
_DELIVERY_LOCK = 7_136_403


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told of the feed, and how that goes.

    ``sequence`` is the last line that it took or that was none of its business. ``delivered``,
    ``dead`` (given up) and ``lost`` (no longer in the outbox when its turn came) count lines
    since it was first told. ``failing_since_ns`` is the first failure that no success
    followed, ``disabled_ns`` when it was given up. Instants are those of the machine's clock.
    """

    name: str
    sequence: int
    delivered: int = 0
    dead: int = 0
    lost: int = 0
    failing_since_ns: int | None = None
    disabled_ns: int | None = None
    last_error: str = ""
    updated_ns: int = 0


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the feed that a subscriber would not take while it took others."""

    subscriber: str
    sequence: int
    event_id: str
    attempts: int
    error: str
    at_ns: int


class Extent(NamedTuple):
    """Numbers of the oldest line kept and of the newest ever; 1 and 0 where there was none."""

    oldest: int
    latest: int


class OpenCaseState(NamedTuple):
    """What of an open incident its retained message must agree with."""

    area_code: str
    version: int


class Outbox:
    """Keeps the state of subscribers.

    Args:
        database: Migrated by :func:`store.database.migrate`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def deliver_alone(self) -> Iterator[bool]:
        """Be the one process that delivers; False where another is that now.

        SQLite has one process anyway; with PostgreSQL the server holds the lock for as long as
        our connection lives, so it is free again however we end.
        """
        with self._database.alone(_DELIVERY_LOCK) as alone:
            yield alone

    def extent(self) -> Extent:
        """What the outbox holds."""
        with self._database.read("reading the outbox") as connection:
            return _extent(connection)

    def sequence_since(self, at_ns: int) -> int:
        """Number of the first line kept from an instant of city time on; the next to come if none.

        Args:
            at_ns: City time.
        """
        table = tables.feed
        with self._database.read("reading the outbox") as connection:
            found = connection.scalar(
                select(func.min(table.c.sequence)).where(table.c.at_ns >= at_ns)
            )
            return int(found) if found is not None else _extent(connection).latest + 1

    def counts_from(self, sequence: int) -> dict[str, int]:
        """How many lines are kept from a number on, by what they tell."""
        table = tables.feed
        statement = (
            select(table.c.change, func.count())
            .where(table.c.sequence >= sequence)
            .group_by(table.c.change)
        )
        with self._database.read("counting the outbox") as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}

    def subscribers(self) -> list[Subscriber]:
        """Everybody who was ever told and not forgotten, by name."""
        with self._database.read("reading subscribers") as connection:
            return _subscribers(connection)

    def subscribe(self, name: str, now_ns: int) -> Subscriber:
        """The state of a subscriber; a new one begins with what comes from now on.

        Raises:
            ServiceError: The database failed.
        """
        with self._database.write("subscribing") as connection:
            new = Subscriber(name=name, sequence=_extent(connection).latest, updated_ns=now_ns)
            row = {**msgspec.structs.asdict(new), "asked_sequence": None}
            self._database.insert_new(connection, tables.subscribers, [row])
            return next(one for one in _subscribers(connection) if one.name == name)

    def save(
        self, states: Sequence[Subscriber], dead: Sequence[DeadLetter] = ()
    ) -> Mapping[str, int]:
        """Keep the states of subscribers together with what they gave up.

        Returns:
            What people asked for meanwhile, by name: the line after which to go on. These
            subscribers were kept as asked: their state is theirs no longer.

        Raises:
            ServiceError: The database failed; nothing was written.
        """
        table = tables.subscribers
        with self._database.write("keeping the outbox's state") as connection:
            names = {one.name for one in states}
            asked = {name: at for name, at in _asked(connection).items() if name in names}
            rows = [
                {**msgspec.structs.asdict(_as_asked(one, asked)), "asked_sequence": None}
                for one in states
            ]
            self._database.upsert(connection, table, rows)
            self._database.insert_new(
                connection, tables.dead_letters, [msgspec.structs.asdict(one) for one in dead]
            )
            for name in {one.subscriber for one in dead}:
                _trim(connection, name)
        return asked

    def asked(self) -> dict[str, int]:
        """What people ask for and nobody has heard yet: the line after which to go on, by name."""
        with self._database.read("reading subscribers") as connection:
            return _asked(connection)

    def ask(self, name: str, sequence: int) -> None:
        """Ask that a subscriber goes on after a line; also ends its pause.

        Whoever delivers does so within a second; where nobody does, the next start.

        Raises:
            NotFoundError: There is no such subscriber.
            ServiceError: The database failed.
        """
        table = tables.subscribers
        with self._database.write("asking for a replay") as connection:
            found = connection.execute(
                update(table).where(table.c.name == name).values(asked_sequence=sequence)
            )
            if not found.rowcount:
                known = ", ".join(one.name for one in _subscribers(connection)) or "nobody"
                raise NotFoundError(
                    f"subscriber {name!r}: not one that was ever told; there is {known}"
                )

    def forget(self, keep: Collection[str], before_ns: int) -> int:
        """Forget subscribers that are no longer wanted and were not told since an instant."""
        gone = [
            one.name
            for one in self.subscribers()
            if one.name not in keep and one.updated_ns < before_ns
        ]
        if gone:
            with self._database.write("forgetting subscribers") as connection:
                letters, table = tables.dead_letters, tables.subscribers
                connection.execute(delete(letters).where(letters.c.subscriber.in_(gone)))
                connection.execute(delete(table).where(table.c.name.in_(gone)))
        return len(gone)

    def dead_letters(self, name: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """What was given up, the newest first; of one subscriber or of all."""
        table = tables.dead_letters
        statement = select(table).order_by(table.c.at_ns.desc(), table.c.sequence.desc())
        if name is not None:
            statement = statement.where(table.c.subscriber == name)
        with self._database.read("reading dead letters") as connection:
            rows = connection.execute(statement.limit(limit)).mappings()
            return [DeadLetter(**row) for row in rows]

    def open_cases(self) -> tuple[int, dict[str, OpenCaseState]]:
        """The newest line's number and the open incidents, of one state of the database."""
        table = tables.incidents
        statement = select(table.c.id, table.c.area_code, table.c.version).where(
            table.c.is_open.is_(True)
        )
        with self._database.read("reading open incidents") as connection:
            found = {row[0]: OpenCaseState(row[1], row[2]) for row in connection.execute(statement)}
            return _extent(connection).latest, found

    def bodies(self, ids: Sequence[str]) -> dict[str, bytes]:
        """JSON of incidents as they now are, by id."""
        table = tables.incidents
        with self._database.read("reading incidents") as connection:
            rows = connection.execute(select(table.c.id, table.c.body).where(table.c.id.in_(ids)))
            return {row[0]: row[1] for row in rows}


def _as_asked(state: Subscriber, asked: Mapping[str, int]) -> Subscriber:
    if state.name not in asked:
        return state
    return msgspec.structs.replace(
        state, sequence=asked[state.name], failing_since_ns=None, disabled_ns=None, last_error=""
    )


def _extent(connection: Connection) -> Extent:
    table = tables.counters
    latest = int(connection.scalar(select(table.c.value).where(table.c.name == "feed")) or 0)
    oldest = connection.scalar(select(func.min(tables.feed.c.sequence)))
    return Extent(latest + 1 if oldest is None else int(oldest), latest)


def _asked(connection: Connection) -> dict[str, int]:
    table = tables.subscribers
    statement = select(table.c.name, table.c.asked_sequence).where(
        table.c.asked_sequence.is_not(None)
    )
    return {name: int(sequence) for name, sequence in connection.execute(statement)}


def _subscribers(connection: Connection) -> list[Subscriber]:
    table = tables.subscribers
    columns = [table.c[name] for name in Subscriber.__struct_fields__]
    rows = connection.execute(select(*columns).order_by(table.c.name)).mappings()
    return [Subscriber(**row) for row in rows]


def _trim(connection: Connection, subscriber: str) -> None:
    table = tables.dead_letters
    oldest_kept = connection.scalar(
        select(table.c.sequence)
        .where(table.c.subscriber == subscriber)
        .order_by(table.c.sequence.desc())
        .offset(MAX_DEAD_LETTERS - 1)
        .limit(1)
    )
    if oldest_kept is not None:
        connection.execute(
            delete(table).where(table.c.subscriber == subscriber, table.c.sequence < oldest_kept)
        )
