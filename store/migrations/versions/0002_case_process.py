"""The case process: when a case is escalated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the instant of the next alert."""
    op.add_column("incidents", sa.Column("next_alert_ns", sa.BigInteger(), nullable=True))
    op.create_index("incidents_by_alert", "incidents", ["next_alert_ns"])


def downgrade() -> None:
    """Forget it."""
    op.drop_index("incidents_by_alert", "incidents")
    op.drop_column("incidents", "next_alert_ns")
