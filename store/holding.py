"""Raises that are no case: exclusions as they are known, and what they leave out now.

An exclusion ends by itself: what it leaves out is looked at again at its end, in event time,
and becomes a case then if it still goes on.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import and_, delete, func, select
from sqlalchemy.engine import Connection

from core.events import Event, event_id
from core.exclusions import Exclusion
from core.units import seconds_to_ns
from scenarios.corroboration import Waiting
from scenarios.exclusions import excludes
from scenarios.model import Scenario
from store import tables
from store.case import RaiseKey
from store.database import Database, insert_rows

#: An exclusion is forgotten, with its versions, this long after its end; each new one looks.
KEPT_S = 400 * 86400.0

#: A raise that goes on for so long and no other source agrees is no longer waited for.
MAX_WAIT_S = 30 * 86400.0

_RECORD = msgspec.msgpack.Decoder(Exclusion)
_MSGPACK = msgspec.msgpack.Encoder()


class HeldBack(msgspec.Struct, frozen=True, kw_only=True):
    """A raise that is no case; looked at again at ``wake_ns``.

    Left out by ``exclusion_id`` until that ends; without one it waits for others that agree,
    until the time for that is past its end ``ended``.
    """

    event: Event
    wake_ns: int
    exclusion_id: str | None = None
    ended: Event | None = None

    @property
    def key(self) -> RaiseKey:
        """What makes it this raise."""
        return RaiseKey(self.event.rule, self.event.thing_id, self.event.began_ns)

    def event_at_wake(self) -> Event:
        """The edge that it would have been, had it only come at ``wake_ns``."""
        one = self.event
        return msgspec.structs.replace(
            one,
            id=event_id(
                rule=one.rule,
                thing_id=one.thing_id,
                began_ns=one.began_ns,
                edge=one.edge,
                at_ns=self.wake_ns,
            ),
            at_ns=self.wake_ns,
            because=one.because | {"after_exclusion": self.exclusion_id or ""},
        )


_HELD = msgspec.msgpack.Decoder(HeldBack)


class Holding:
    """Exclusions and held raises inside a write transaction; :meth:`write` keeps them.

    Args:
        connection: Of the write transaction.
        database: For its dialect.
    """

    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection = connection
        self._database = database
        self._held: dict[RaiseKey, HeldBack] | None = None
        self._changed: set[RaiseKey] = set()
        # Asked for before every event; looked for only after a change.
        self._soonest: HeldBack | None = None
        self._soonest_known = False
        self._counts: dict[str, int] = {}

    def take(self, records: Iterable[Exclusion]) -> None:
        """Keep new versions; one that is not later than what is known changes nothing."""
        now = tables.exclusions_now
        for one in records:
            known = self._connection.execute(
                select(now.c.revision, now.c.at_ns, now.c.excluded_count).where(now.c.id == one.id)
            ).one_or_none()
            if known is not None and known.at_ns >= one.at_ns:
                continue
            revision = 1 if known is None else known.revision + 1
            body = _MSGPACK.encode(one)
            version = {"id": one.id, "revision": revision, "at_ns": one.at_ns, "record": body}
            insert_rows(self._connection, tables.exclusions, [version])
            row = version | {
                "kind": one.kind.value,
                "from_ns": one.from_ns,
                "until_ns": one.until_ns,
                "excluded_count": 0 if known is None else known.excluded_count,
            }
            self._database.upsert(self._connection, now, [row])
            # It ends earlier or later now: what it holds is looked at again when it does.
            for held in list(self._all().values()):
                if held.exclusion_id == one.id:
                    self._set(msgspec.structs.replace(held, wake_ns=one.until_ns))
            self._forget(one.at_ns - seconds_to_ns(KEPT_S))

    def in_force(self, event: Event, scenario: Scenario) -> Exclusion | None:
        """The exclusion that leaves an edge out; of several the one that ends last."""
        now = tables.exclusions_now
        found = self._connection.scalars(
            select(now.c.record)
            .where(now.c.until_ns > event.at_ns, now.c.from_ns <= event.at_ns)
            .order_by(now.c.until_ns.desc(), now.c.id)
        )
        for record in found:
            one = _RECORD.decode(record)
            if excludes(one, event, scenario):
                return one
        return None

    def hold(self, event: Event, exclusion: Exclusion) -> None:
        """Hold a raise until an exclusion ends, and count it once."""
        held = HeldBack(event=event, exclusion_id=exclusion.id, wake_ns=exclusion.until_ns)
        if held.key not in self._all():
            self._counts[exclusion.id] = self._counts.get(exclusion.id, 0) + 1
        self._set(held)

    def wait(self, event: Event) -> None:
        """Let a raise wait for others that agree, for as long as it goes on."""
        self._set(HeldBack(event=event, wake_ns=event.at_ns + seconds_to_ns(MAX_WAIT_S)))

    def waiting(self, scenario: str) -> list[Waiting]:
        """The raises of a scenario that wait for others, the first first."""
        found = [
            held
            for held in self._all().values()
            if held.exclusion_id is None and held.event.scenario == scenario
        ]
        found.sort(key=lambda held: (held.event.at_ns, held.key))
        return [Waiting(raised=held.event, ended=held.ended) for held in found]

    def end(self, event: Event, scenario: Scenario) -> None:
        """A raise is over; one that waits may still agree with what comes soon after."""
        held = self._all().get(RaiseKey(event.rule, event.thing_id, event.began_ns))
        if held is None:
            return
        if held.exclusion_id is not None or scenario.corroborate is None:
            self.let_go(event)
        else:
            wake_ns = event.at_ns + seconds_to_ns(scenario.corroborate.within_s)
            self._set(msgspec.structs.replace(held, ended=event, wake_ns=wake_ns))

    def let_go(self, event: Event) -> None:
        """A raise is over, or is a case now."""
        key = RaiseKey(event.rule, event.thing_id, event.began_ns)
        if self._all().pop(key, None) is not None:
            self._changed.add(key)
            self._soonest_known = False

    def next_due(self, at_ns: int) -> HeldBack | None:
        """The raise whose time to be looked at has come, the first first."""
        if not self._soonest_known:
            self._soonest = min(
                self._all().values(),
                key=lambda held: (held.wake_ns, held.event.scenario, held.key),
                default=None,
            )
            self._soonest_known = True
        one = self._soonest
        return one if one is not None and one.wake_ns <= at_ns else None

    def _set(self, held: HeldBack) -> None:
        self._all()[held.key] = held
        self._changed.add(held.key)
        self._soonest_known = False

    def write(self) -> None:
        """Write what changed."""
        table, held = tables.held_raises, self._all() if self._changed else {}
        gone = sorted(self._changed - held.keys())
        for key in gone:
            same = (table.c[name] == value for name, value in key._asdict().items())
            self._connection.execute(delete(table).where(and_(*same)))
        rows = [
            {
                **key._asdict(),
                "scenario": held[key].event.scenario,
                "wake_ns": held[key].wake_ns,
                "record": _MSGPACK.encode(held[key]),
            }
            for key in sorted(self._changed & held.keys())
        ]
        self._database.upsert(self._connection, table, rows)
        now = tables.exclusions_now
        for name, more in self._counts.items():
            values = {"excluded_count": now.c.excluded_count + more}
            self._connection.execute(now.update().where(now.c.id == name).values(values))

    def _all(self) -> dict[RaiseKey, HeldBack]:
        """What is held, read once: rules raise rarely, and little is left out at any time."""
        if self._held is None:
            found = self._connection.scalars(select(tables.held_raises.c.record))
            self._held = {one.key: one for one in map(_HELD.decode, found)}
        return self._held

    def _forget(self, before_ns: int) -> None:
        now, versions = tables.exclusions_now, tables.exclusions
        old = select(now.c.id).where(now.c.until_ns < before_ns)
        self._connection.execute(delete(versions).where(versions.c.id.in_(old)))
        self._connection.execute(delete(now).where(now.c.until_ns < before_ns))


def next_wake_ns(connection: Connection) -> int | None:
    """The event time at which a held raise must be looked at; None where none is held."""
    found = connection.scalar(select(func.min(tables.held_raises.c.wake_ns)))
    return None if found is None else int(found)
