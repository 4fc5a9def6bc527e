"""How each cluster was found when it was looked at last."""

import sqlalchemy as sa
from alembic import op

from redrive.ledger.models import UtcTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table of looks."""
    op.create_table(
        "looks",
        sa.Column("cluster", sa.String(), primary_key=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("backlog", sa.Boolean(), nullable=False),
        sa.Column("lags", sa.JSON(), nullable=False),
        sa.Column("troubles", sa.JSON(), nullable=False),
    )
