"""The tables of the case store, for SQLite and PostgreSQL alike.

Instants are integer UTC nanoseconds. Positions are WGS 84 degrees in two indexed columns, so
that the same schema serves both databases. ``record`` columns hold a core struct as
MessagePack, ``body`` columns the JSON that readers are given, encoded once when the row is
written: a list or a stream joins these bytes and encodes nothing (docs/decisions/0009).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

metadata = MetaData()

#: Texts that are compared by byte, so that cursors and prefixes mean the same everywhere.
Key = Text().with_variant(Text(collation="C"), "postgresql")

incidents = Table(
    "incidents",
    metadata,
    Column("id", Key, primary_key=True),
    Column("case_number", Key, nullable=False, unique=True),
    Column("scenario", Key, nullable=False),
    Column("domain", Key, nullable=False),
    Column("department_zh", Text, nullable=False),
    Column("department_en", Text, nullable=False),
    Column("severity", Key, nullable=False),
    Column("status", Key, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("area_code", Key, nullable=False),
    # The beginnings of the area code, empty where it is shorter.
    Column("district_code", Key, nullable=False),
    Column("street_code", Key, nullable=False),
    Column("community_code", Key, nullable=False),
    Column("lon_deg", Float),
    Column("lat_deg", Float),
    Column("began_ns", BigInteger, nullable=False),
    Column("opened_ns", BigInteger, nullable=False),
    Column("last_event_ns", BigInteger, nullable=False),
    Column("cleared_ns", BigInteger),
    Column("closed_ns", BigInteger),
    Column("deadline_ns", BigInteger),
    # When it rises to its next level of escalation; NULL where it does not.
    Column("next_alert_ns", BigInteger),
    Column("unit_id", Key),
    Column("worker_id", Key),
    Column("parent_id", Key),
    Column("version", Integer, nullable=False),
    # The version at which the status last changed: evidence that came since takes nothing
    # away from a person who decided on an older version.
    Column("process_version", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Index("incidents_by_time", incidents.c.opened_ns, incidents.c.id)
Index("incidents_by_status", incidents.c.status, incidents.c.opened_ns)
# A page of an area is read in the order of this index, however many its incidents are.
Index("incidents_by_district", incidents.c.district_code, incidents.c.opened_ns, incidents.c.id)
Index("incidents_by_street", incidents.c.street_code, incidents.c.opened_ns, incidents.c.id)
Index("incidents_by_community", incidents.c.community_code, incidents.c.opened_ns, incidents.c.id)
Index("incidents_by_position", incidents.c.lon_deg, incidents.c.lat_deg)
# Candidates of an event: open ones of its scenario nearby, and those closed not long ago.
Index(
    "incidents_open_by_place",
    incidents.c.scenario,
    incidents.c.is_open,
    incidents.c.lon_deg,
    incidents.c.lat_deg,
)
Index("incidents_by_closing", incidents.c.scenario, incidents.c.closed_ns)
# What is open, by domain and severity (figures) and by worker (load).
Index(
    "incidents_open_figures",
    incidents.c.is_open,
    incidents.c.domain,
    incidents.c.severity,
    incidents.c.status,
)
Index("incidents_by_alert", incidents.c.next_alert_ns)
Index("incidents_open_load", incidents.c.is_open, incidents.c.worker_id)

Index("incidents_by_parent", incidents.c.parent_id)

#: The raises that an incident holds; ``active`` until their clear came.
raises = Table(
    "incident_raises",
    metadata,
    Column("incident_id", Key, primary_key=True),
    Column("rule", Key, primary_key=True),
    Column("thing_id", Key, primary_key=True),
    Column("began_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Key, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("confidence_ratio", Float, nullable=False),
)
Index("raises_by_thing", raises.c.thing_id, raises.c.incident_id)

#: Every event that was ever decided on; ``incident_id`` is NULL where none took it.
evidence = Table(
    "evidence",
    metadata,
    Column("event_id", Key, primary_key=True),
    Column("incident_id", Key),
    Column("scenario", Key, nullable=False),
    Column("thing_id", Key, nullable=False),
    Column("kind", Key, nullable=False),
    Column("edge", Key, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("area_code", Key, nullable=False),
    Column("lon_deg", Float),
    Column("lat_deg", Float),
    # The exclusion that it was left out under, where one was.
    Column("exclusion_id", Key),
    Column("body", LargeBinary, nullable=False),
)
Index("evidence_by_exclusion", evidence.c.exclusion_id, evidence.c.at_ns)
Index("evidence_by_incident", evidence.c.incident_id, evidence.c.at_ns)
Index("evidence_by_time", evidence.c.at_ns, evidence.c.event_id)
Index("evidence_by_thing", evidence.c.thing_id, evidence.c.at_ns)

history = Table(
    "history",
    metadata,
    Column("incident_id", Key, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

#: The outbox: what changed, in the order of commits, without gaps.
feed = Table(
    "feed",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("change", Key, nullable=False),
    Column("incident_id", Key, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

#: Public alerts that were issued of an incident, numbered from 1; ``sequence`` is the line of
#: the feed that tells of the change, ``record`` the incident as it then was.
alerts = Table(
    "alerts",
    metadata,
    Column("incident_id", Key, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("phase", Key, nullable=False),
    Column("kind", Key, nullable=False),
    Column("sent_ns", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

#: Who is told of the feed, and how far each has been. ``asked_sequence`` is a person's wish:
#: go on after this line (a replay, or the end of a pause).
subscribers = Table(
    "subscribers",
    metadata,
    Column("name", Key, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("delivered", BigInteger, nullable=False),
    Column("dead", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("failing_since_ns", BigInteger),
    Column("disabled_ns", BigInteger),
    Column("last_error", Text, nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    Column("asked_sequence", BigInteger),
)

#: Lines of the feed that a subscriber would not take while it took others.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("subscriber", Key, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Key, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
)

#: Answers already given to writing requests that named an idempotency key.
idempotency = Table(
    "idempotency",
    metadata,
    Column("key", Key, primary_key=True),
    Column("request", Key, nullable=False),
    Column("incident_id", Key, nullable=False),
    Column("version", Integer, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
)
Index("idempotency_by_time", idempotency.c.at_ns)

reports = Table(
    "reports",
    metadata,
    Column("id", Key, primary_key=True),
    Column("scenario", Key, nullable=False),
    Column("lon_deg", Float, nullable=False),
    Column("lat_deg", Float, nullable=False),
    Column("error_m", Float),
    Column("words", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
)

#: What people found cases to be; the last word on each.
verdicts = Table(
    "verdicts",
    metadata,
    Column("incident_id", Key, primary_key=True),
    Column("scenario", Key, nullable=False),
    Column("verdict", Key, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("duplicate_of", Key),
)
Index("verdicts_by_time", verdicts.c.at_ns)

rejections = Table(
    "rejections",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Key, nullable=False, unique=True),
    Column("reason", Key, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
Index("rejections_by_reason", rejections.c.reason, rejections.c.sequence)

rejection_counts = Table(
    "rejection_counts",
    metadata,
    Column("reason", Key, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

things = Table(
    "things",
    metadata,
    Column("thing_id", Key, primary_key=True),
    Column("kind", Key, nullable=False),
    Column("observed_ns", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
Index("things_by_kind", things.c.kind, things.c.thing_id)

#: Every version of every exclusion; the newest is the one with the highest revision.
exclusions = Table(
    "exclusions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

#: The newest version of each, and how many raises it left out.
exclusions_now = Table(
    "exclusions_now",
    metadata,
    Column("id", Key, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("kind", Key, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("excluded_count", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
Index("exclusions_by_end", exclusions_now.c.until_ns, exclusions_now.c.from_ns)

#: Raises that go on and are no case: what is left out now, until ``wake_ns``.
held_raises = Table(
    "held_raises",
    metadata,
    Column("rule", Key, primary_key=True),
    Column("thing_id", Key, primary_key=True),
    Column("began_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("scenario", Key, nullable=False),
    Column("wake_ns", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
Index("held_by_wake", held_raises.c.wake_ns)

#: How far each partition of each ingest has been applied.
progress = Table(
    "progress",
    metadata,
    Column("ingest_id", Key, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("watermark_ns", BigInteger, nullable=False),
)

#: Last case number given on a day (YYYYMMDD, China time).
case_days = Table(
    "case_days",
    metadata,
    Column("day", Key, primary_key=True),
    Column("last", Integer, nullable=False),
)

#: Named numbers: ``feed`` and ``rejections`` (last sequence given), ``rejections_evicted``.
counters = Table(
    "counters",
    metadata,
    Column("name", Key, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
