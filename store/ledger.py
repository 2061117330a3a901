"""The ledger: received = accepted + duplicate + rejected + in flight, and accepted = archived.

Four parties speak of every batch, and none of them asks another: ingest's meter (what was
received), the rules (accepted, repeated), whoever sets something aside (rejected), the archive
(archived). A span of batches is settled when meter, rules and archive have all passed it. What
does not add up then is a difference: it is kept, shown, and reported.

What ingest wrote in its last second before a kill has no meter. Once a later start has been
seen it is settled on the word of the rules, and counted as ``unmetered``.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from core.ledger import MeterRecord, start_of
from store.archive.catalog import Catalog
from store.archive.postings import (
    ACCEPTED,
    ARCHIVED,
    DUPLICATE,
    RECEIVED,
    REJECTED,
    SET_ASIDE,
    Frontier,
    Posting,
    post,
)

#: Observations that were settled without a meter.
UNMETERED = "unmetered"

#: Minutes are kept for half a year, as the archive is; at ten sources about 30 MB.
KEPT_S = 180 * 86_400

_Key = tuple[str, int]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger of one source, for a minute or for all of a span of time.

    ``missing`` is received − accepted − duplicate − rejected − in flight. ``unarchived`` is
    accepted + set aside − archived, because what made the rules fail is archived too. Both are
    0 where nothing was lost. ``minute_s`` is None in a sum.
    """

    source: str
    minute_s: int | None
    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: dict[str, int] = {}
    in_flight: int = 0
    archived: int = 0
    unmetered: int = 0
    missing: int = 0
    unarchived: int = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A span of batches whose parties disagree."""

    number: int
    ingest_id: str
    first: int
    last: int
    source: str
    minute_s: int
    missing: int
    unarchived: int


class Ledger:
    """The ledger in an archive's catalog.

    Args:
        catalog: Opened to write by the one bookkeeper, read only by others.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    # Writing.

    def positions(self) -> dict[str, int]:
        """The next offset wanted of each topic."""
        return dict(self._catalog.rows("SELECT topic, next_offset FROM positions"))

    def record(
        self,
        *,
        meters: Sequence[MeterRecord],
        postings: Sequence[Posting],
        frontiers: Sequence[Frontier],
        positions: Mapping[str, int],
        partitions: int,
    ) -> None:
        """Take in what was read from the log, then settle what can be settled: all or nothing.

        Args:
            meters: What ingest says it received.
            postings: What the rules and the rejections say.
            frontiers: How far the rules have come.
            positions: The next offset of each topic.
            partitions: Partitions of ``observations``.

        Raises:
            ServiceError: The catalog cannot be written; nothing was.
        """
        with self._catalog.write("keeping the ledger") as connection:
            for meter in meters:
                _keep_meter(connection, meter)
            post(connection, postings, frontiers)
            connection.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items()
            )
            _settle(connection, partitions)

    def waiting(self) -> bool:
        """Whether there is anything that is not settled yet."""
        ((found,),) = self._catalog.rows(
            "SELECT EXISTS (SELECT 1 FROM spans) OR EXISTS (SELECT 1 FROM postings)"
        )
        return bool(found)

    def unreported(self) -> list[Difference]:
        """Differences that nobody has been told of."""
        return self._differences("WHERE reported = 0 ORDER BY number", ())

    def mark_reported(self, numbers: Iterable[int]) -> None:
        """Say that an incident was raised for these."""
        with self._catalog.write("marking differences") as connection:
            connection.executemany(
                "UPDATE differences SET reported = 1 WHERE number = ?", [(one,) for one in numbers]
            )

    def prune(self, before_s: int) -> None:
        """Forget minutes before an instant (seconds since 1970)."""
        with self._catalog.write("pruning the ledger") as connection:
            connection.execute("DELETE FROM balances WHERE minute_s < ?", (before_s,))
            connection.execute("DELETE FROM differences WHERE minute_s < ?", (before_s,))

    # Reading.

    def minutes(
        self, from_s: int, to_s: int, source: str | None = None, limit: int = 1000
    ) -> list[Line]:
        """Lines by minute and source, the newest first; at most ``limit``."""
        lines = self._lines(from_s, to_s, source)
        lines.sort(key=lambda line: (-(line.minute_s or 0), line.source))
        return lines[:limit]

    def totals(self, from_s: int, to_s: int, source: str | None = None) -> list[Line]:
        """One line per source, summed over a span of time."""
        sums: dict[str, list[Line]] = defaultdict(list)
        for line in self._lines(from_s, to_s, source):
            sums[line.source].append(line)
        return [_sum(name, lines) for name, lines in sorted(sums.items())]

    def differences(self, from_s: int, to_s: int, limit: int = 100) -> list[Difference]:
        """What did not add up, the newest first."""
        return self._differences(
            "WHERE minute_s BETWEEN ? AND ? ORDER BY number DESC LIMIT ?", (from_s, to_s, limit)
        )

    def _differences(self, where: str, values: Sequence[Any]) -> list[Difference]:
        rows = self._catalog.rows(
            "SELECT number, ingest, start, first, last, source, minute_s, missing, unarchived "  # noqa: S608
            f"FROM differences {where}",
            values,
        )
        return [
            Difference(
                number=row[0],
                ingest_id=f"{row[1]}/{row[2]:06d}",
                first=row[3],
                last=row[4],
                source=row[5],
                minute_s=row[6],
                missing=row[7],
                unarchived=row[8],
            )
            for row in rows
        ]

    def _lines(self, from_s: int, to_s: int, source: str | None) -> list[Line]:
        span = (from_s, to_s, source, source)
        where = "WHERE minute_s BETWEEN ? AND ? AND (? IS NULL OR source = ?)"
        found: dict[_Key, dict[str, int]] = defaultdict(dict)
        for name, minute_s, account, count in self._catalog.rows(
            f"SELECT source, minute_s, account, count FROM balances {where}",  # noqa: S608
            span,
        ):
            found[name, minute_s][account] = count
        waiting = {
            (name, minute_s): count
            for name, minute_s, count in self._catalog.rows(
                "SELECT source, minute_s, sum(count) FROM metered "  # noqa: S608
                f"{where} GROUP BY source, minute_s",
                span,
            )
        }
        return [
            _line(key, found.get(key, {}), waiting.get(key, 0)) for key in found.keys() | waiting
        ]


def _line(key: _Key, balance: Mapping[str, int], in_flight: int) -> Line:
    rejected = {
        account.removeprefix(REJECTED): count
        for account, count in balance.items()
        if account.startswith(REJECTED)
    }
    received, accepted = balance.get(RECEIVED, 0), balance.get(ACCEPTED, 0)
    duplicate, archived = balance.get(DUPLICATE, 0), balance.get(ARCHIVED, 0)
    return Line(
        source=key[0],
        minute_s=key[1],
        received=received + in_flight,
        accepted=accepted,
        duplicate=duplicate,
        rejected=rejected,
        in_flight=in_flight,
        archived=archived,
        unmetered=balance.get(UNMETERED, 0),
        missing=received - accepted - duplicate - sum(rejected.values()),
        unarchived=accepted + balance.get(SET_ASIDE, 0) - archived,
    )


def _sum(source: str, lines: Sequence[Line]) -> Line:
    rejected: dict[str, int] = defaultdict(int)
    for line in lines:
        for reason, count in line.rejected.items():
            rejected[reason] += count
    numbers = {
        name: sum(getattr(line, name) for line in lines)
        for name in Line.__struct_fields__
        if name not in {"source", "minute_s", "rejected"}
    }
    return Line(source=source, minute_s=None, rejected=dict(rejected), **numbers)


def _keep_meter(connection: sqlite3.Connection, meter: MeterRecord) -> None:
    ingest, start = start_of(meter.ingest_id)
    span = (ingest, start, meter.first)
    connection.execute(
        "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?)", (*span, meter.last, meter.messages)
    )
    connection.executemany(
        "INSERT OR REPLACE INTO metered VALUES (?, ?, ?, ?, ?, ?)",
        [(*span, one.source, one.minute_s, one.count) for one in meter.received],
    )


def _settle(connection: sqlite3.Connection, partitions: int) -> None:
    """Turn what all have passed into balances."""
    passed = _passed(connection, partitions)
    spans = connection.execute("SELECT ingest, start, first, last FROM spans").fetchall()
    for ingest, start, first, last in sorted(spans):
        if (start, (last - 1) // partitions) > passed.get(ingest, (-1, -1)):
            continue
        done = _settled_upto(connection, ingest, start)
        if first > done + 1:
            # A record of the meter is missing: its batches count as received by nobody.
            _settle_span(connection, (ingest, start, done + 1, first - 1), trusted=False)
        _settle_span(connection, (ingest, start, first, last), trusted=False)
    # What has no meter, of starts that are over.
    rest = connection.execute(
        "SELECT ingest, start, min(sequence), max(sequence) FROM postings GROUP BY ingest, start"
    ).fetchall()
    for ingest, start, first, last in rest:
        if start < passed.get(ingest, (-1, -1))[0]:
            _settle_span(connection, (ingest, start, first, last), trusted=True)


def _passed(connection: sqlite3.Connection, partitions: int) -> dict[str, tuple[int, int]]:
    """By ingest, the newest round (a batch per partition) that both paths have passed."""
    held: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for _, ingest, start, sequence in connection.execute(
        "SELECT path, ingest, start, sequence FROM frontiers"
    ):
        held[ingest].append((start, (sequence - 1) // partitions))
    # Both paths times all partitions: who has not spoken yet has passed nothing.
    return {ingest: min(all_) for ingest, all_ in held.items() if len(all_) >= 2 * partitions}


def _settled_upto(connection: sqlite3.Connection, ingest: str, start: int) -> int:
    row = connection.execute(
        "SELECT sequence FROM settled WHERE ingest = ? AND start = ?", (ingest, start)
    ).fetchone()
    return int(row[0]) if row else 0


def _settle_span(
    connection: sqlite3.Connection, span: tuple[str, int, int, int], *, trusted: bool
) -> None:
    ingest, start, _, last = span
    sums: dict[_Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for source, minute_s, account, count in connection.execute(
        "DELETE FROM postings WHERE ingest = ? AND start = ? AND sequence BETWEEN ? AND ? "
        "RETURNING source, minute_s, account, count",
        span,
    ):
        sums[source, minute_s][account] += count
    for source, minute_s, count in connection.execute(
        "DELETE FROM metered WHERE ingest = ? AND start = ? AND first = ? "
        "RETURNING source, minute_s, count",
        span[:3],
    ):
        sums[source, minute_s][RECEIVED] += count
    connection.execute("DELETE FROM spans WHERE ingest = ? AND start = ? AND first = ?", span[:3])
    for (source, minute_s), accounts in sums.items():
        accounted = sum(
            count
            for account, count in accounts.items()
            if account in {ACCEPTED, DUPLICATE} or account.startswith(REJECTED)
        )
        if trusted:
            accounts[RECEIVED] = accounts[UNMETERED] = accounted
        missing = accounts[RECEIVED] - accounted
        unarchived = accounts[ACCEPTED] + accounts[SET_ASIDE] - accounts[ARCHIVED]
        if missing or unarchived:
            connection.execute(
                "INSERT INTO differences (ingest, start, first, last, source, minute_s, missing, "
                "unarchived) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*span, source, minute_s, missing, unarchived),
            )
        connection.executemany(
            "INSERT INTO balances VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(minute_s, source, name, count) for name, count in accounts.items() if count],
        )
    connection.execute(
        "INSERT INTO settled VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
        "SET sequence = max(sequence, excluded.sequence)",
        (ingest, start, last),
    )
