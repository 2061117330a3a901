"""What is posted to the ledger while a batch is on its way through the platform.

A posting says that so many observations of a batch went to an account. Postings wait until
everybody has spoken of the batch, then :mod:`store.ledger` settles it: they become balances.
They are keyed by what they speak of, so that one that is posted again changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

#: Accounts: what became of an observation. Rejections have one per reason, ``rejected:bad_json``.
RECEIVED = "received"
ACCEPTED = "accepted"
DUPLICATE = "duplicate"
ARCHIVED = "archived"
REJECTED = "rejected:"

#: What was received and made the rules fail: archived all the same.
SET_ASIDE = REJECTED + "agent_failed"

#: Paths that a batch takes; it is settled when both have passed it.
RULES = "rules"
ARCHIVE = "archive"

LEDGER_TABLES = """
CREATE TABLE postings (
    ingest TEXT NOT NULL,
    start INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    source TEXT NOT NULL,
    minute_s INTEGER NOT NULL,
    account TEXT NOT NULL,
    count INTEGER NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (ingest, start, sequence, source, minute_s, account, item)
) WITHOUT ROWID;
CREATE TABLE spans (
    ingest TEXT NOT NULL,
    start INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (ingest, start, first)
) WITHOUT ROWID;
CREATE TABLE metered (
    ingest TEXT NOT NULL,
    start INTEGER NOT NULL,
    first INTEGER NOT NULL,
    source TEXT NOT NULL,
    minute_s INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (ingest, start, first, source, minute_s)
) WITHOUT ROWID;
CREATE TABLE frontiers (
    path TEXT NOT NULL,
    ingest TEXT NOT NULL,
    partition INTEGER NOT NULL,
    start INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (path, ingest, partition)
) WITHOUT ROWID;
CREATE TABLE settled (
    ingest TEXT NOT NULL,
    start INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (ingest, start)
) WITHOUT ROWID;
CREATE TABLE balances (
    minute_s INTEGER NOT NULL,
    source TEXT NOT NULL,
    account TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (minute_s, source, account)
) WITHOUT ROWID;
CREATE TABLE differences (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    ingest TEXT NOT NULL,
    start INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    source TEXT NOT NULL,
    minute_s INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    unarchived INTEGER NOT NULL,
    reported INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE positions (
    topic TEXT PRIMARY KEY,
    next_offset INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Posting(NamedTuple):
    """So many observations of a batch went to an account.

    ``item`` tells postings apart that are otherwise alike: the row that was set aside.
    """

    ingest: str
    start: int
    sequence: int
    source: str
    minute_s: int
    account: str
    amount: int
    item: str = ""


class Frontier(NamedTuple):
    """How far a path has come in a partition: start of ingest and number of the batch."""

    path: str
    ingest: str
    partition: int
    start: int
    sequence: int


def post(
    connection: sqlite3.Connection, postings: Sequence[Posting], frontiers: Sequence[Frontier]
) -> None:
    """Keep postings and move frontiers, within a transaction of the caller.

    A posting about a batch that is settled already repeats what was said of it, and is dropped.
    """
    connection.executemany(
        "INSERT OR REPLACE INTO postings SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 "
        "WHERE NOT EXISTS (SELECT 1 FROM settled "
        "WHERE ingest = ?1 AND start = ?2 AND sequence >= ?3)",
        postings,
    )
    connection.executemany(
        "INSERT INTO frontiers VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET start = excluded.start, sequence = excluded.sequence "
        "WHERE (excluded.start, excluded.sequence) > (start, sequence)",
        frontiers,
    )
