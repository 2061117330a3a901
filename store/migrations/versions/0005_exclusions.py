"""Exclusions: permits, planned works, maintenance windows and silences; raises they hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables; nothing was left out before."""
    op.add_column("evidence", sa.Column("exclusion_id", _KEY, nullable=True))
    op.create_index("evidence_by_exclusion", "evidence", ["exclusion_id", "at_ns"])
    op.create_table(
        "exclusions",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", "revision"),
    )
    op.create_table(
        "exclusions_now",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("kind", _KEY, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.Column("excluded_count", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("exclusions_by_end", "exclusions_now", ["until_ns", "from_ns"])
    op.create_table(
        "held_raises",
        sa.Column("rule", _KEY, nullable=False),
        sa.Column("thing_id", _KEY, nullable=False),
        sa.Column("began_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("scenario", _KEY, nullable=False),
        sa.Column("wake_ns", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "thing_id", "began_ns"),
    )
    op.create_index("held_by_wake", "held_raises", ["wake_ns"])


def downgrade() -> None:
    """Forget them; what they left out stays no case."""
    op.drop_table("held_raises")
    op.drop_table("exclusions_now")
    op.drop_table("exclusions")
    op.drop_index("evidence_by_exclusion", "evidence")
    op.drop_column("evidence", "exclusion_id")
