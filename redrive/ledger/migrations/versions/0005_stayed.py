"""How far topics that producers were taken from have been looked through for events of those that stayed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add it to the looks; of earlier ones nothing is known."""
    op.add_column("looks", sa.Column("stayed", sa.JSON(), nullable=False, server_default="{}"))
