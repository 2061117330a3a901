"""Verdicts: what people found cases to be."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "verdicts",
        sa.Column("incident_id", _KEY, nullable=False),
        sa.Column("scenario", _KEY, nullable=False),
        sa.Column("verdict", _KEY, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("duplicate_of", _KEY, nullable=True),
        sa.PrimaryKeyConstraint("incident_id"),
    )
    op.create_index("verdicts_by_time", "verdicts", ["at_ns"])


def downgrade() -> None:
    """Forget them."""
    op.drop_table("verdicts")
