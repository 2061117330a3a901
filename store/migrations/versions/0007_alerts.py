"""Public alerts, each as it was issued."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table; of what happened before, nothing was issued."""
    op.create_table(
        "alerts",
        sa.Column("incident_id", _KEY, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("phase", _KEY, nullable=False),
        sa.Column("kind", _KEY, nullable=False),
        sa.Column("sent_ns", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "number"),
        sa.UniqueConstraint("sequence"),
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_table("alerts")
