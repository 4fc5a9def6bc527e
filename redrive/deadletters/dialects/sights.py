"""Which dialect a letter is in, and what it tells.

An event may go through several systems and keep the headers of each. All of them add theirs after those that are
there: so the dialect of the last header that belongs to one is that of whoever wrote this letter.
"""

from __future__ import annotations

from msgspec import UNSET

from redrive.deadletters.dialects import confluent, connect, own, reading, spring, uforwarder
from redrive.deadletters.dialects.sighting import UNKNOWN, Account, Dialect, Record, Sighting
from redrive.events import are_unreadable
from redrive.wire import HEADER_SIZE, MAGIC

_SCHEMA_ID_HEADER = "__value_schema_id"  # what Confluent's serializers of 2025 can write instead of a frame


def sight(record: Record) -> Sighting:
    """Tell what can be known of a dead letter from its headers, whoever wrote it; never fails."""
    headers = dict(record.headers or ())
    dialect, account = _account(record, headers)
    if account.attempts is None:  # one of ours was put right and published again: its event still counts
        account.attempts = min(reading.int_text(headers.get("redrive-attempt")) or 0, 10**9) + 1
    schema_id = account.schema_id
    for frame in (headers.get(_SCHEMA_ID_HEADER), record.value):
        schema_id = _framed_id(frame) if schema_id is None else schema_id
    return Sighting(
        cluster=record.cluster,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        dialect=dialect,
        event_id=_event_id(record),
        reason=account.reason,
        cause=account.cause,
        field=account.field,
        producer=account.producer,
        main_topic=account.main_topic,
        main_partition=account.main_partition,
        main_offset=account.main_offset,
        main_timestamp=account.main_timestamp,
        schema_id=schema_id,
        attempts=account.attempts,
        key=record.key if account.key is UNSET else account.key,
        size=None if record.value is None else len(record.value),
        correctable=account.correctable and not are_unreadable(record.headers),
    )


def _account(record: Record, headers: dict[str, bytes | None]) -> tuple[Dialect, Account]:
    for name, _ in reversed(record.headers or ()):
        if name.startswith(own.PREFIX) and (account := own.read(record, headers)):
            return "own", account
        if name.startswith(connect.PREFIX):
            return "connect", connect.read(record, headers)
        if name.startswith(spring.PREFIXES):
            return "spring", spring.read(record, headers)
        if name.startswith(confluent.PREFIX):
            return "confluent", confluent.read(record, headers)
    if forwarded := uforwarder.read(record):
        return "uforwarder", forwarded
    return "unknown", Account(reason=UNKNOWN)


def _event_id(record: Record) -> str | None:
    for name, value in record.headers or ():
        if name == "ce_id":
            return reading.text(value) or None
    return None


def _framed_id(data: bytes | None) -> int | None:
    if data is None or len(data) < HEADER_SIZE or data[0] != MAGIC:
        return None
    return int.from_bytes(data[1:HEADER_SIZE], "big")
