"""Settings that a job has changed for its own time, and that are to be what they were."""

import sqlalchemy as sa
from alembic import op

from redrive.ledger.models import UtcTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table of debts."""
    op.create_table(
        "debts",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("operation_id", sa.String(64), sa.ForeignKey("operations.id"), nullable=False, index=True),
        sa.Column("cluster", sa.String(), nullable=False, index=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("setting", sa.String(), nullable=False),
        sa.Column("previous", sa.String()),
        sa.Column("ours", sa.JSON(), nullable=False),
        sa.Column("owed_at", UtcTime(), nullable=False),
        sa.Column("settled_at", UtcTime()),
        sa.Column("how", sa.String()),
        sa.Column("settled_by", sa.String(64), sa.ForeignKey("operations.id")),
    )
