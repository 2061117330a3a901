"""Answers already given to writing requests that named an idempotency key."""

from __future__ import annotations

import hashlib

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from core.errors import ConflictError
from core.incidents import Incident
from store import tables

#: Answers kept; the oldest go.
MAX_IDEMPOTENCY_KEYS = 10_000

_MSGPACK = msgspec.msgpack.Encoder()
_INCIDENT = msgspec.msgpack.Decoder(Incident)


def answer_given(connection: Connection, key: str, request: str) -> Incident | None:
    """The answer that a key was given; None where it is new.

    Raises:
        ConflictError: The key was used for another request.
    """
    table = tables.idempotency
    row = connection.execute(
        select(table.c.request, table.c.answer).where(table.c.key == key)
    ).one_or_none()
    if row is None:
        return None
    if row.request != request:
        raise ConflictError(
            f"idempotency key {key!r} was used for another request; use a new key for each"
        )
    return _INCIDENT.decode(row.answer)


def keep_answer(
    connection: Connection, key: str, request: str, incident: Incident, now_ns: int
) -> None:
    """Remember an answer, and forget the oldest."""
    table = tables.idempotency
    connection.execute(
        insert(table).values(
            key=key,
            request=request,
            incident_id=incident.id,
            version=incident.version,
            answer=_MSGPACK.encode(incident),
            at_ns=now_ns,
        )
    )
    oldest = (
        select(table.c.at_ns).order_by(table.c.at_ns.desc()).offset(MAX_IDEMPOTENCY_KEYS).limit(1)
    )
    connection.execute(delete(table).where(table.c.at_ns <= oldest.scalar_subquery()))


def request_digest(*parts: str) -> str:
    """A request in few bytes, to tell whether another is the same."""
    text = "\x1f".join(parts)
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
