"""Kafka Connect's sink connectors: ``__connect.errors.*``, if ``errors.deadletterqueue.context.headers.enable``.

Key, value, headers and timestamp of the record are those of the event. A header is added only where it is not there
yet: of an event that fails again, the headers still tell of its first failure. All values are text in UTF-8.
Source: apache/kafka, connect/runtime/…/errors/DeadLetterQueueReporter.java (KIP-298).
"""

from __future__ import annotations

from redrive.deadletters.dialects import reading
from redrive.deadletters.dialects.reasons import reason_of
from redrive.deadletters.dialects.sighting import Account, Record

PREFIX = "__connect.errors."


def read(record: Record, headers: dict[str, bytes | None]) -> Account:
    """Tell what the headers (name → the last of the name) say."""
    cause = reading.class_name(headers.get(PREFIX + "exception.class.name"))
    return Account(
        reason=reason_of(cause),
        cause=cause,
        producer=reading.text(headers.get(PREFIX + "connector.name")),
        main_topic=reading.topic(headers.get(PREFIX + "topic")),
        main_partition=reading.int_text(headers.get(PREFIX + "partition")),
        main_offset=reading.long_text(headers.get(PREFIX + "offset")),
        main_timestamp=record.timestamp,
    )
