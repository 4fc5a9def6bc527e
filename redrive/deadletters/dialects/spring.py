"""Spring for Apache Kafka: ``kafka_dlt-*`` by DeadLetterPublishingRecoverer, ``kafka_*`` by @RetryableTopic.

Key, value and headers are those of the event; the timestamp is the letter's own. Partitions are four bytes, offsets and
timestamps eight, big-endian; the rest is text in UTF-8. What was thrown is mostly a wrapper: its cause says more. By
default each further failure *adds* ``original-*`` headers (the first ones are the event's own place) and *replaces*
those of the exception.
Sources: spring-projects/spring-kafka, …/listener/DeadLetterPublishingRecoverer.java and …/support/KafkaHeaders.java.
"""

from __future__ import annotations

from redrive.deadletters.dialects import reading
from redrive.deadletters.dialects.reasons import reason_of
from redrive.deadletters.dialects.sighting import Account, Record

PREFIXES = ("kafka_dlt-", "kafka_original-", "kafka_exception-", "kafka_key-exception-")
_WRAPPERS = ("ListenerExecutionFailedException", "TimestampedException")


def read(record: Record, headers: dict[str, bytes | None]) -> Account:
    """Tell what the headers (name → the last of the name) say."""
    first = _originals(record)
    thrown, cause = _class(headers, "exception-fqcn"), _class(headers, "exception-cause-fqcn")
    if cause and thrown.endswith(_WRAPPERS):
        thrown = cause
    reason = reason_of(thrown)
    if not thrown:
        thrown = _class(headers, "key-exception-fqcn")
        reason = f"key-{reason_of(thrown)}"[:64] if thrown else reason
    return Account(
        reason=reason,
        cause=thrown,
        producer=reading.text(first.get("consumer-group")),
        main_topic=reading.topic(first.get("topic")),
        main_partition=reading.big_endian(first.get("partition"), 4),
        main_offset=reading.big_endian(first.get("offset"), 8),
        main_timestamp=reading.big_endian(first.get("timestamp"), 8),
    )


def _class(headers: dict[str, bytes | None], name: str) -> str:
    raw = headers.get(f"kafka_dlt-{name}")
    return reading.class_name(headers.get(f"kafka_{name}") if raw is None else raw)


def _originals(record: Record) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for name, value in record.headers or ():
        bare = name.removeprefix("kafka_").removeprefix("dlt-")
        if bare.startswith("original-") and name != bare:
            found.setdefault(bare.removeprefix("original-"), value)
    return found
