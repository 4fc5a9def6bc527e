"""The ledger's tables of dead letters. No ORM here: rows come and go in bulk.

Nor foreign keys: checking one for each row halves the rate at which PostgreSQL takes letters (measured: 10,000/s with
one, 19,500/s without). What they would guard is seen to by the writes, and checked by `redrive.ledger.letter_audit`.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
)

from redrive.ledger.models import Base

# Ordered by code points in both databases, whatever the language of the server: plans depend on the order.
Name = String().with_variant(String(collation="C"), "postgresql")

dead_letters = Table(
    "dead_letters",
    Base.metadata,
    # The columns are those of `redrive.deadletters.dialects.Sighting`, and
    #   entry: the journal's entry under which it was recorded,
    #   fate: the last of its fates, or "none".
    Column("cluster", Name, primary_key=True),
    Column("topic", Name, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("dialect", String, nullable=False),
    Column("event_id", String, index=True),
    Column("reason", Name, nullable=False),
    Column("cause", String, nullable=False),
    Column("field", String, nullable=False),
    Column("producer", Name, nullable=False),
    Column("main_topic", Name, nullable=False),
    Column("main_partition", Integer),
    Column("main_offset", BigInteger),
    Column("main_timestamp", BigInteger),
    Column("schema_id", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("key", LargeBinary),
    Column("size", BigInteger),
    Column("correctable", Boolean, nullable=False),
    Column("entry", Integer, nullable=False),
    Column("fate", String, nullable=False),
    Index("ix_dead_letters_order", "cluster", "main_topic", "topic", "partition", "offset"),
)

triage_positions = Table(
    "triage_positions",
    Base.metadata,
    # next_offset: the first offset that no triage has read yet.
    Column("cluster", Name, primary_key=True),
    Column("topic", Name, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
)

fates = Table(
    "fates",
    Base.metadata,
    # entry: the journal's entry of the batch, which says which operation it was, and when. Later entries count.
    # The other columns are those of `redrive.deadletters.fate.Fate`; its place is to_topic/to_partition/to_offset.
    Column("cluster", Name, primary_key=True),
    Column("topic", Name, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("entry", Integer, primary_key=True, autoincrement=False, index=True),
    Column("fate", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("rules", JSON, nullable=False),
    Column("to_topic", String),
    Column("to_partition", Integer),
    Column("to_offset", BigInteger),
)
