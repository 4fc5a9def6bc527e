"""Dead letters, how far triage has read, and what became of each letter."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _place() -> list[sa.Column[str] | sa.Column[int]]:
    return [
        sa.Column("cluster", _NAME, primary_key=True),
        sa.Column("topic", _NAME, primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
    ]


def upgrade() -> None:
    """Make the tables of dead letters."""
    op.create_table(
        "dead_letters",
        *_place(),
        sa.Column("offset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("dialect", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), index=True),
        sa.Column("reason", _NAME, nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("producer", _NAME, nullable=False),
        sa.Column("main_topic", _NAME, nullable=False),
        sa.Column("main_partition", sa.Integer()),
        sa.Column("main_offset", sa.BigInteger()),
        sa.Column("main_timestamp", sa.BigInteger()),
        sa.Column("schema_id", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("correctable", sa.Boolean(), nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("fate", sa.String(), nullable=False),
    )
    op.create_index("ix_dead_letters_order", "dead_letters", ["cluster", "main_topic", "topic", "partition", "offset"])
    op.create_table("triage_positions", *_place(), sa.Column("next_offset", sa.BigInteger(), nullable=False))
    op.create_table(
        "fates",
        *_place(),
        sa.Column("offset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("entry", sa.Integer(), primary_key=True, autoincrement=False, index=True),
        sa.Column("fate", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("to_topic", sa.String()),
        sa.Column("to_partition", sa.Integer()),
        sa.Column("to_offset", sa.BigInteger()),
    )
