"""Uber's uForwarder: no header at all; the record's *key* is a protobuf message, ``DLQMetadata``, around the event's.

=  ================  =======================================================================
1  retry_count       int64, absent if 0
2  topic             string: the topic that the event was read from; likewise
3  partition         int32, absent if 0
4  offset            int64, absent if 0
5  timestamp_ns      int64: in spite of its name in milliseconds (it is ConsumerRecord.timestamp())
6  data              bytes: the event's key; absent if it had none, or an empty one
7  timeout_count     int64, absent if 0
=  ================  =======================================================================

Value and headers are those of the event. Why it failed, and for which consumer group, is not said.
Sources: uber/uForwarder, idl/src/main/proto/data/kafka/messaging-consumer/dlq_metadata.proto and
uforwarder/…/consumerproxy/worker/processor/ProcessorMessage.java (getKafkaDispatcherMessage).
"""

from __future__ import annotations

from redrive.deadletters.dialects import reading
from redrive.deadletters.dialects.sighting import UNKNOWN, Account, Record

_VARINT, _BYTES = 0, 2
_TYPES = {1: _VARINT, 2: _BYTES, 3: _VARINT, 4: _VARINT, 5: _VARINT, 6: _BYTES, 7: _VARINT}
_LONGEST_VARINT = 10
_NANOSECONDS = 10**17  # as milliseconds this is the year 3 million


def read(record: Record) -> Account | None:
    """Tell what the key says; None if it is not such a message.

    Any key may by chance be one. So it must be exact: known fields in order, a topic that Kafka would take, and a time.
    """
    fields = _parse(record.key or b"")
    if fields is None:
        return None
    topic, timestamp = reading.topic(_bytes(fields, 2)), _number(fields, 5)
    if not topic or not timestamp or _number(fields, 3) >= 2**31:
        return None
    return Account(
        reason=UNKNOWN,
        main_topic=topic,
        main_partition=_number(fields, 3),
        main_offset=_number(fields, 4),
        main_timestamp=timestamp // 1_000_000 if timestamp >= _NANOSECONDS else timestamp,
        key=_bytes(fields, 6),
    )


def _parse(data: bytes) -> dict[int, int | bytes] | None:
    fields: dict[int, int | bytes] = {}
    at, last = 0, 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number <= last or _TYPES.get(number) != kind:
            return None
        value, at = _varint(data, at)
        if value < 0:
            return None
        if kind == _BYTES:
            if at + value > len(data):
                return None
            fields[number] = data[at : at + value]
            at += value
        else:
            fields[number] = value
        last = number
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Give the number at a place and the place after it; −1 if there is none, or none of 63 bits."""
    number = 0
    for length, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << (7 * length)
        if byte < 0x80:
            return (number if number < 2**63 else -1), at + length + 1
    return -1, len(data)


def _number(fields: dict[int, int | bytes], number: int) -> int:
    value = fields.get(number, 0)
    return value if isinstance(value, int) else 0


def _bytes(fields: dict[int, int | bytes], number: int) -> bytes | None:
    value = fields.get(number)
    return value if isinstance(value, bytes) else None
