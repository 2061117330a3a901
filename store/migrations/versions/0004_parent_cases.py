"""Parent cases: which incident an incident is part of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the column; no case had a parent before."""
    op.add_column("incidents", sa.Column("parent_id", _KEY, nullable=True))
    op.create_index("incidents_by_parent", "incidents", ["parent_id"])


def downgrade() -> None:
    """Forget the parents."""
    op.drop_index("incidents_by_parent", "incidents")
    op.drop_column("incidents", "parent_id")
