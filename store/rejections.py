"""What could not be read, as the store keeps it: the newest, and counts of all."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.engine import Connection

from core.ports import Redriven, Rejection
from store import tables
from store.database import Database, insert_rows, next_numbers
from store.texts import storable

_MSGPACK = msgspec.msgpack.Encoder()


def keep_rejections(
    connection: Connection, database: Database, rejections: Iterable[Rejection], most: int
) -> int:
    """Keep what is not kept yet and evict the oldest beyond ``most``, counting both.

    Returns:
        How many were new.
    """
    given = {one.digest: one for one in rejections}
    table = tables.rejections
    known = set(connection.scalars(select(table.c.digest).where(table.c.digest.in_(list(given)))))
    fresh = {digest: one for digest, one in given.items() if digest not in known}
    if not fresh:
        return 0
    last = next_numbers(connection, "rejections", len(fresh))
    insert_rows(
        connection,
        table,
        [
            {
                "sequence": sequence,
                "digest": digest,
                "reason": storable(one.reason),
                "received_ns": one.received_ns,
                "record": _MSGPACK.encode(one),
            }
            for sequence, (digest, one) in enumerate(fresh.items(), last - len(fresh) + 1)
        ],
    )
    _count_rejections(connection, database, fresh.values())
    evicted = connection.execute(delete(table).where(table.c.sequence <= last - most)).rowcount
    if evicted:
        next_numbers(connection, "rejections_evicted", evicted)
    return len(fresh)


def drop_redriven(connection: Connection, redriven: Iterable[Redriven]) -> None:
    """Let go what was sent again; what is not there, or not any more, is left."""
    table = tables.rejections
    connection.execute(delete(table).where(table.c.digest.in_([one.digest for one in redriven])))


def _count_rejections(
    connection: Connection, database: Database, rejections: Iterable[Rejection]
) -> None:
    table = tables.rejection_counts
    counted: dict[str, int] = {}
    for one in rejections:
        reason = storable(one.reason)
        counted[reason] = counted.get(reason, 0) + 1
    kept = connection.execute(
        select(table.c.reason, table.c.count).where(table.c.reason.in_(list(counted)))
    )
    before_now: dict[str, int] = {row[0]: row[1] for row in kept}
    database.upsert(
        connection,
        table,
        [
            {"reason": reason, "count": before_now.get(reason, 0) + count}
            for reason, count in counted.items()
        ],
    )
