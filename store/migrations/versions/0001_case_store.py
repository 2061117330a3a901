"""The case store: incidents, evidence, history, feed, rejections, things."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables and the counters."""
    op.create_table(
        "case_days",
        sa.Column("day", _KEY, nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day"),
    )
    counters = op.create_table(
        "counters",
        sa.Column("name", _KEY, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "evidence",
        sa.Column("event_id", _KEY, nullable=False),
        sa.Column("incident_id", _KEY, nullable=True),
        sa.Column("scenario", _KEY, nullable=False),
        sa.Column("thing_id", _KEY, nullable=False),
        sa.Column("kind", _KEY, nullable=False),
        sa.Column("edge", _KEY, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("area_code", _KEY, nullable=False),
        sa.Column("lon_deg", sa.Float(), nullable=True),
        sa.Column("lat_deg", sa.Float(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("evidence_by_incident", "evidence", ["incident_id", "at_ns"], unique=False)
    op.create_index("evidence_by_thing", "evidence", ["thing_id", "at_ns"], unique=False)
    op.create_index("evidence_by_time", "evidence", ["at_ns", "event_id"], unique=False)
    op.create_table(
        "feed",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("change", _KEY, nullable=False),
        sa.Column("incident_id", _KEY, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_table(
        "history",
        sa.Column("incident_id", _KEY, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "position"),
    )
    op.create_table(
        "idempotency",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("request", _KEY, nullable=False),
        sa.Column("incident_id", _KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("idempotency_by_time", "idempotency", ["at_ns"], unique=False)
    op.create_table(
        "incident_raises",
        sa.Column("incident_id", _KEY, nullable=False),
        sa.Column("rule", _KEY, nullable=False),
        sa.Column("thing_id", _KEY, nullable=False),
        sa.Column("began_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", _KEY, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("confidence_ratio", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "rule", "thing_id", "began_ns"),
    )
    op.create_index("raises_by_thing", "incident_raises", ["thing_id", "incident_id"], unique=False)
    op.create_table(
        "incidents",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("case_number", _KEY, nullable=False),
        sa.Column("scenario", _KEY, nullable=False),
        sa.Column("domain", _KEY, nullable=False),
        sa.Column("department_zh", sa.Text(), nullable=False),
        sa.Column("department_en", sa.Text(), nullable=False),
        sa.Column("severity", _KEY, nullable=False),
        sa.Column("status", _KEY, nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("area_code", _KEY, nullable=False),
        sa.Column("district_code", _KEY, nullable=False),
        sa.Column("street_code", _KEY, nullable=False),
        sa.Column("community_code", _KEY, nullable=False),
        sa.Column("lon_deg", sa.Float(), nullable=True),
        sa.Column("lat_deg", sa.Float(), nullable=True),
        sa.Column("began_ns", sa.BigInteger(), nullable=False),
        sa.Column("opened_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_event_ns", sa.BigInteger(), nullable=False),
        sa.Column("cleared_ns", sa.BigInteger(), nullable=True),
        sa.Column("closed_ns", sa.BigInteger(), nullable=True),
        sa.Column("deadline_ns", sa.BigInteger(), nullable=True),
        sa.Column("unit_id", _KEY, nullable=True),
        sa.Column("worker_id", _KEY, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("process_version", sa.Integer(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("case_number"),
    )
    op.create_index("incidents_by_closing", "incidents", ["scenario", "closed_ns"], unique=False)
    op.create_index(
        "incidents_by_community", "incidents", ["community_code", "opened_ns", "id"], unique=False
    )
    op.create_index(
        "incidents_by_district", "incidents", ["district_code", "opened_ns", "id"], unique=False
    )
    op.create_index("incidents_by_position", "incidents", ["lon_deg", "lat_deg"], unique=False)
    op.create_index("incidents_by_status", "incidents", ["status", "opened_ns"], unique=False)
    op.create_index(
        "incidents_by_street", "incidents", ["street_code", "opened_ns", "id"], unique=False
    )
    op.create_index("incidents_by_time", "incidents", ["opened_ns", "id"], unique=False)
    op.create_index(
        "incidents_open_by_place",
        "incidents",
        ["scenario", "is_open", "lon_deg", "lat_deg"],
        unique=False,
    )
    op.create_index(
        "incidents_open_figures",
        "incidents",
        ["is_open", "domain", "severity", "status"],
        unique=False,
    )
    op.create_index("incidents_open_load", "incidents", ["is_open", "worker_id"], unique=False)
    op.create_table(
        "progress",
        sa.Column("ingest_id", _KEY, nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("watermark_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ingest_id", "partition"),
    )
    op.create_table(
        "rejection_counts",
        sa.Column("reason", _KEY, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reason"),
    )
    op.create_table(
        "rejections",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", _KEY, nullable=False),
        sa.Column("reason", _KEY, nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("rejections_by_reason", "rejections", ["reason", "sequence"], unique=False)
    op.create_table(
        "reports",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("scenario", _KEY, nullable=False),
        sa.Column("lon_deg", sa.Float(), nullable=False),
        sa.Column("lat_deg", sa.Float(), nullable=False),
        sa.Column("error_m", sa.Float(), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "things",
        sa.Column("thing_id", _KEY, nullable=False),
        sa.Column("kind", _KEY, nullable=False),
        sa.Column("observed_ns", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("thing_id"),
    )
    op.create_index("things_by_kind", "things", ["kind", "thing_id"], unique=False)
    op.bulk_insert(
        counters,
        [{"name": name, "value": 0} for name in ("feed", "rejections", "rejections_evicted")],
    )


def downgrade() -> None:
    """Drop everything."""
    op.drop_table("things")
    op.drop_table("reports")
    op.drop_table("rejections")
    op.drop_table("rejection_counts")
    op.drop_table("progress")
    op.drop_table("incidents")
    op.drop_table("incident_raises")
    op.drop_table("idempotency")
    op.drop_table("history")
    op.drop_table("feed")
    op.drop_table("evidence")
    op.drop_table("counters")
    op.drop_table("case_days")
