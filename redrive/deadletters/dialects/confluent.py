"""Confluent's serializers and deserializers: the DLQ action of a schema's rule writes ``__rule.*`` headers.

The event's headers come first, then ``__rule.name``, ``mode``, ``subject``, ``topic`` (where the event was meant to go,
or came from) and ``exception`` (a message, which may quote the value: not read). Its partition and offset are not said.
A rule that fails on reading (``READ``, ``DOWNGRADE`` …) leaves the bytes of the value as they were; one that fails on
writing leaves the value as plain JSON, in which fields to be encrypted are replaced by ``<REDACTED>``.
Sources: confluentinc/schema-registry, client/…/rules/DlqAction.java; confluent-kafka 2.16 for Python,
schema_registry/rules/dlq/dlq_action.py.
"""

from __future__ import annotations

from redrive.deadletters.dialects import reading
from redrive.deadletters.dialects.sighting import Account, Record

PREFIX = "__rule."
REASON = "rule-failed"


def read(record: Record, headers: dict[str, bytes | None]) -> Account:
    """Tell what the headers (name → the last of the name) say."""
    return Account(
        reason=REASON,
        cause=reading.text(headers.get(PREFIX + "name")),
        main_topic=reading.topic(headers.get(PREFIX + "topic")),
        correctable=b"<REDACTED>" not in (record.value or b""),
    )
