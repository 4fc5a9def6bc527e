"""Operations, what they hold, and the journal."""

import sqlalchemy as sa
from alembic import op

from redrive.ledger.models import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "operations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("job", sa.String(), nullable=False, index=True),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("resources", sa.JSON(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False, index=True),
        sa.Column("ended_at", UtcTime()),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("plan_digest", sa.String()),
        sa.Column("plan", sa.JSON()),
        sa.Column("counts", sa.JSON()),
        sa.Column("verdict", sa.String()),
        sa.Column("evidence", sa.JSON()),
        sa.Column("run_url", sa.String()),
        sa.Column("heartbeat_at", UtcTime(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
    )
    op.create_table(
        "holds",
        sa.Column("resource", sa.String(), primary_key=True),
        sa.Column("operation_id", sa.String(64), sa.ForeignKey("operations.id"), nullable=False, index=True),
        sa.Column("since", UtcTime(), nullable=False),
    )
    op.create_table(
        "entries",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("operation_id", sa.String(64), sa.ForeignKey("operations.id"), nullable=False, index=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
    )
