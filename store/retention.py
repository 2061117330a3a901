"""Forgets what has long been over: cases, events that no case took, last states, old lines.

What is over is looked for by a reader and looked at again by the writer that deletes it, in
transactions of milliseconds: whoever decides meanwhile waits for one of them at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Table, and_, delete, func, select
from sqlalchemy.engine import Connection

from store import tables
from store.database import Database

#: Rows that one transaction deletes. A case goes whole, however many rows it has.
ROWS = 1000

#: What belongs to a case and goes with it.
_OF_CASE = (tables.evidence, tables.raises, tables.history, tables.alerts, tables.verdicts)


class _Old(NamedTuple):
    """Rows of a table that are over, found in the order of a key."""

    table: Table
    key: Column[Any]
    condition: ColumnElement[bool]


def forget(database: Database, before_ns: int) -> Iterator[Mapping[str, int]]:
    """Forget what was over before an instant, one small transaction with each step.

    A case goes when it is closed or cancelled and nothing has happened to it since, but never
    while a case that is open is its parent, its part, or what it is a duplicate of. An event
    that no case took stays while the exclusion that left it out is in force. Lines of the feed
    go from the oldest on, without a gap. Rejections and exclusions have bounds of their own.

    Args:
        database: Migrated by :func:`store.database.migrate`.
        before_ns: City time.

    Yields:
        Rows that a transaction deleted, by table.

    Raises:
        ServiceError: The database failed; what was yielded is deleted, the rest is not.
    """
    yield from _forget_cases(database, before_ns)
    for old in _old_rows(database, before_ns):
        yield from _forget_rows(database, old)


def _over(before_ns: int) -> ColumnElement[bool]:
    """Cases that nothing has happened to since an instant and no open case refers to."""
    case, lines, said = tables.incidents, tables.history, tables.verdicts
    other = case.alias()
    happened = select(lines.c.at_ns).where(
        lines.c.incident_id == case.c.id, lines.c.at_ns >= before_ns
    )
    related = (
        select(other.c.id).where(other.c.id == case.c.parent_id),
        select(other.c.id).where(other.c.parent_id == case.c.id),
        select(other.c.id)
        .join(said, said.c.duplicate_of == other.c.id)
        .where(said.c.incident_id == case.c.id),
    )
    return and_(
        case.c.opened_ns < before_ns,  # what has an index; the rest looks at what that leaves
        case.c.is_open.is_(False),
        case.c.last_event_ns < before_ns,
        ~happened.exists(),
        *(~one.where(other.c.is_open.is_(True)).exists() for one in related),
    )


def _forget_cases(database: Database, before_ns: int) -> Iterator[Mapping[str, int]]:
    case, words = tables.incidents, tables.evidence
    over = _over(before_ns)
    while True:
        with database.read("looking for cases to forget") as connection:
            found = connection.scalars(
                select(case.c.id).where(over).order_by(case.c.opened_ns, case.c.id).limit(ROWS)
            ).all()
            counted = connection.execute(
                select(words.c.incident_id, func.count())
                .where(words.c.incident_id.in_(found))
                .group_by(words.c.incident_id)
            )
            sizes = {row[0]: row[1] for row in counted}
        for ids in _packs(found, sizes):
            with database.write("forgetting cases") as connection:
                counts = _delete_cases(connection, over, ids)
            yield counts
        if len(found) < ROWS:
            return


def _packs(ids: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Ids of cases in packs of at most :data:`ROWS` events, or of one case that has more.

    Example:
        >>> list(_packs(["a", "b", "c", "d"], {"a": 600, "b": 400, "c": 1, "d": 5000}))
        [['a', 'b'], ['c'], ['d']]
    """
    pack: list[str] = []
    rows = 0
    for one in ids:
        if pack and rows + sizes.get(one, 0) > ROWS:
            yield pack
            pack, rows = [], 0
        pack.append(one)
        rows += sizes.get(one, 0)
    if pack:
        yield pack


def _delete_cases(
    connection: Connection, over: ColumnElement[bool], ids: Sequence[str]
) -> Mapping[str, int]:
    case = tables.incidents
    # Somebody may have opened one again since it was found.
    still = connection.scalars(select(case.c.id).where(case.c.id.in_(ids), over)).all()
    columns = (case.c.id, *(table.c.incident_id for table in _OF_CASE))
    return {
        column.table.name: connection.execute(
            delete(column.table).where(column.in_(still))
        ).rowcount
        for column in columns
    }


def _old_rows(database: Database, before_ns: int) -> list[_Old]:
    """What goes beside the cases; to be asked for when these are gone."""
    words, lines, reports = tables.evidence, tables.feed, tables.reports
    things, progress, answers = tables.things, tables.progress, tables.idempotency
    exclusions = tables.exclusions_now
    in_force = select(exclusions.c.id).where(
        exclusions.c.id == words.c.exclusion_id, exclusions.c.until_ns >= before_ns
    )
    of_a_case = select(words.c.event_id).where(
        words.c.thing_id == "report/" + reports.c.id, words.c.incident_id.is_not(None)
    )
    with database.read("looking for the first line to keep") as connection:
        # Not by the time of each: clocks of two writers may differ a little.
        kept = connection.scalar(
            select(func.min(lines.c.sequence)).where(lines.c.at_ns >= before_ns)
        )
        newest = connection.scalar(select(func.max(lines.c.sequence)))
    first_kept = (newest or 0) + 1 if kept is None else kept
    return [
        _Old(
            words,
            words.c.event_id,
            and_(words.c.at_ns < before_ns, words.c.incident_id.is_(None), ~in_force.exists()),
        ),
        _Old(lines, lines.c.sequence, lines.c.sequence < first_kept),
        _Old(things, things.c.thing_id, things.c.observed_ns < before_ns),
        _Old(progress, progress.c.ingest_id, progress.c.watermark_ns < before_ns),
        _Old(answers, answers.c.key, answers.c.at_ns < before_ns),
        _Old(reports, reports.c.id, and_(reports.c.at_ns < before_ns, ~of_a_case.exists())),
    ]


def _forget_rows(database: Database, old: _Old) -> Iterator[Mapping[str, int]]:
    after: ColumnElement[bool] | None = None
    while True:
        wanted = select(old.key).where(old.condition).order_by(old.key).limit(ROWS)
        if after is not None:
            wanted = wanted.where(after)
        with database.read(f"looking for {old.table.name} to forget") as connection:
            keys = connection.scalars(wanted).all()
        if keys:
            with database.write(f"forgetting {old.table.name}") as connection:
                count = connection.execute(
                    delete(old.table).where(old.key.in_(keys), old.condition)
                ).rowcount
            yield {old.table.name: count}
        if len(keys) < ROWS:
            return
        after = old.key > keys[-1]
