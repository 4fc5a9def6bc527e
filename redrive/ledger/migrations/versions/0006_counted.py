"""How far what waits in the standby store was counted, so that the next look counts only what is new."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add it to the looks; of earlier ones nothing is known."""
    op.add_column("looks", sa.Column("counted", sa.JSON(), nullable=False, server_default="{}"))
