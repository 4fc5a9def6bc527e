"""A record of any dead-letter topic tells what it is about, in the headers of whichever system wrote it."""

from __future__ import annotations

import re
import struct
from typing import Any

import msgspec
import pytest

from redrive.deadletters.dialects import Record, Sighting, sight
from redrive.deadletters.dialects.reasons import reason_of
from redrive.deadletters.letter import REASONS, letter_of_bytes, letter_of_value, without_value
from redrive.envelope import headers as envelope_headers
from redrive.events import Event, Headers

NOW = 1_793_500_000_007
EVENT = envelope_headers("e-1", source="shop", type="orders", time_ms=NOW)
FRAMED = b"\x00\x00\x00\x00\x07body"

CONNECT: Headers = [
    ("__connect.errors.topic", b"orders"),
    ("__connect.errors.partition", b"3"),
    ("__connect.errors.offset", b"4711"),
    ("__connect.errors.connector.name", b"jdbc-sink"),
    ("__connect.errors.task.id", b"0"),
    ("__connect.errors.stage", b"VALUE_CONVERTER"),
    ("__connect.errors.class.name", b"io.confluent.connect.avro.AvroConverter"),
    ("__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.DataException"),
    ("__connect.errors.exception.message", b"secret: 4111 1111 1111 1111"),
    ("__connect.errors.exception.stacktrace", b"org.apache... secret: 4111 1111 1111 1111"),
]


def spring(prefix: str = "kafka_dlt-", **changes: bytes | None) -> Headers:
    given: dict[str, bytes | None] = {
        "original-topic": b"orders",
        "original-partition": struct.pack(">i", 3),
        "original-offset": struct.pack(">q", 4711),
        "original-timestamp": struct.pack(">q", NOW),
        "original-timestamp-type": b"CreateTime",
        "exception-fqcn": b"org.springframework.kafka.listener.ListenerExecutionFailedException",
        "exception-cause-fqcn": b"com.shop.NoSuchCustomerException",
        "exception-message": b"secret: 4111 1111 1111 1111",
        "exception-stacktrace": b"at com.shop secret: 4111 1111 1111 1111",
    }
    given |= {name.replace("_", "-"): value for name, value in changes.items()}
    named = [(prefix + name, value) for name, value in given.items() if value is not None]
    return [*named, ("kafka_dlt-original-consumer-group", b"billing")]


RULE: Headers = [
    ("__rule.name", b"checkTotal"),
    ("__rule.mode", b"READ"),
    ("__rule.subject", b"orders-value"),
    ("__rule.topic", b"orders"),
    ("__rule.exception", b"Expr failed: secret: 4111 1111 1111 1111"),
]


def protobuf(**fields: Any) -> bytes:
    """A DLQMetadata as Java writes it: in order, without what is 0 or empty."""
    given = {
        "retry": 2,
        "topic": b"orders",
        "partition": 3,
        "offset": 4711,
        "timestamp": NOW,
        "data": b"k",
        "timeout": 0,
    }
    written = b""
    for number, value in enumerate((given | fields).values(), 1):
        if isinstance(value, bytes):
            written += bytes([number << 3 | 2]) + varint(len(value)) + value if value else b""
        elif value:
            written += bytes([number << 3]) + varint(value)
    return written


def varint(number: int) -> bytes:
    written = b""
    while number > 0x7F:
        written, number = written + bytes([number & 0x7F | 0x80]), number >> 7
    return written + bytes([number])


def see(headers: Headers | None, *, key: bytes | None = b"k", value: bytes | None = FRAMED) -> Sighting:
    return sight(Record("local", "dlq", 1, 17, NOW + 5, headers, key, value))


def see_own(letter: Event) -> Sighting:
    return see(letter.headers, key=letter.key, value=letter.value)


def origin(of: Sighting) -> tuple[Any, ...]:
    return of.dialect, of.main_topic, of.main_partition, of.main_offset, of.main_timestamp


def own_letter(**changes: Any) -> Event:
    given: dict[str, Any] = {
        "event_id": "e-1",
        "key": b"k",
        "value": FRAMED,
        "headers": EVENT,
        "topic": "orders",
        "reason": "handler-failed",
        "detail": "secret: 4111 1111 1111 1111",
        "producer": "billing",
        "timestamp": NOW,
        "partition": 3,
        "offset": 4711,
    }
    return letter_of_bytes("dlq.billing", **(given | changes))


def test_a_letter_stands_where_it_was_read() -> None:
    seen = see([])
    assert (seen.cluster, seen.topic, seen.partition, seen.offset, seen.timestamp) == ("local", "dlq", 1, 17, NOW + 5)


def test_our_own_letter_tells_all() -> None:
    seen = see_own(own_letter(schema_id=7, field="items[2].price"))
    assert origin(seen) == ("own", "orders", 3, 4711, NOW)
    assert (seen.event_id, seen.reason, seen.field, seen.producer) == (
        "e-1",
        "handler-failed",
        "items[2].price",
        "billing",
    )
    assert (seen.schema_id, seen.attempts, seen.key, seen.size, seen.correctable) == (7, 1, b"k", len(FRAMED), True)


def test_our_own_letter_counts_how_often_its_event_has_become_one() -> None:
    assert see_own(own_letter(headers=own_letter().headers)).attempts == 2


def test_our_own_letter_of_a_value_that_fits_no_schema_can_be_corrected_only_if_all_of_it_is_there() -> None:
    def seen(value: Any) -> Sighting:
        about = {"topic": "orders", "reason": "invalid-value", "detail": "", "producer": "shop"}
        return see_own(
            letter_of_value("dlq", event_id="e", key=None, headers=[], timestamp=NOW, schema_id=7, value=value, **about)
        )

    assert (seen({"a": 1}).correctable, seen(object()).correctable) == (True, False)
    assert see_own(without_value(own_letter())).correctable is False
    assert seen({"a": 1}).schema_id == 7


@pytest.mark.parametrize(
    ("field", "seen"),
    [
        ("items[2].price", "items[2].price"),
        ("", ""),
        ("""prices['anna@example.org'].net""", "prices[…]"),
        ("""['anna@example.org']""", "[…]"),
        ("anna says: hello", "anna[…]"),
    ],
)
def test_keys_of_maps_are_left_out_of_the_path_of_a_field(field: str, seen: str) -> None:
    assert see_own(own_letter(field=field)).field == seen


def test_a_damaged_letter_of_ours_is_still_ours() -> None:
    headers: Headers = [("redrive-reason", b"\xff what?"), ("redrive-topic", b"a b"), ("redrive-encoding", b"rot13")]
    seen = see([*headers, ("redrive-offset", b"-1"), ("redrive-schema-id", b"99999999999")])
    assert (seen.dialect, seen.reason, seen.main_topic, seen.main_offset) == ("own", "unknown", "", None)
    assert (seen.schema_id, seen.correctable) == (7, False)


def test_a_letter_of_kafka_connect() -> None:
    seen = see(EVENT + CONNECT)
    assert origin(seen) == ("connect", "orders", 3, 4711, NOW + 5)
    assert (seen.producer, seen.reason, seen.event_id) == ("jdbc-sink", "data", "e-1")
    assert seen.cause == "org.apache.kafka.connect.errors.DataException"


@pytest.mark.parametrize("prefix", ["kafka_dlt-", "kafka_"], ids=["recoverer", "retryable topic"])
def test_a_letter_of_spring_has_its_numbers_in_binary(prefix: str) -> None:
    seen = see(EVENT + spring(prefix))
    assert origin(seen) == ("spring", "orders", 3, 4711, NOW)
    assert (seen.producer, seen.event_id) == ("billing", "e-1")
    assert (seen.reason, seen.cause) == ("no-such-customer", "com.shop.NoSuchCustomerException")


def test_a_letter_of_spring_that_failed_again_belongs_to_its_first_topic_and_its_last_exception() -> None:
    again = spring(original_topic=b"orders.DLT", exception_cause_fqcn=b"java.io.IOException")
    seen = see(spring() + again)
    assert (seen.main_topic, seen.main_offset, seen.reason) == ("orders", 4711, "io")


def test_a_letter_of_spring_names_the_exception_itself_if_it_wraps_none() -> None:
    assert see(spring(exception_cause_fqcn=None)).reason == "handler-failed"
    name = b"org.springframework.kafka.support.serializer.DeserializationException"
    assert see(spring(exception_fqcn=name)).reason == "deserialization"
    assert see(spring(exception_fqcn=None, key_exception_fqcn=name)).reason == "key-deserialization"


def test_a_letter_of_a_rule_of_confluents_schema_registry() -> None:
    seen = see(EVENT + RULE)
    assert origin(seen) == ("confluent", "orders", None, None, None)
    assert (seen.reason, seen.cause, seen.event_id, seen.schema_id) == ("rule-failed", "checkTotal", "e-1", 7)


def test_a_value_that_confluent_has_blackened_can_not_be_corrected() -> None:
    assert see(RULE, value=b'{"name": "anna"}').correctable is True
    assert see(RULE, value=b'{"name": "<REDACTED>"}').correctable is False


def test_a_letter_of_uforwarder_has_the_key_of_its_event_inside_its_own() -> None:
    seen = see(EVENT, key=protobuf())
    assert origin(seen) == ("uforwarder", "orders", 3, 4711, NOW)
    assert (seen.key, seen.event_id, seen.reason) == (b"k", "e-1", "unknown")


def test_a_letter_of_uforwarder_at_the_very_beginning_of_its_topic() -> None:
    seen = see([], key=protobuf(retry=0, partition=0, offset=0, data=b""))
    assert (origin(seen), seen.key) == (("uforwarder", "orders", 0, 0, NOW), None)


def test_uforwarders_time_may_be_in_nanoseconds_as_its_name_says() -> None:
    assert see([], key=protobuf(timestamp=NOW * 1_000_000)).main_timestamp == NOW


@pytest.mark.parametrize(
    "key",
    [
        protobuf()[:-1],
        protobuf() + b"\x00",
        protobuf(topic=b"not a topic"),
        protobuf(timestamp=0),
        protobuf(partition=2**31),
        protobuf() + protobuf(),
        b"\xff" * 20,
        b"customer-17",
    ],
    ids=["cut", "longer", "topic", "no time", "partition", "twice", "no number", "text"],
)
def test_a_key_that_only_looks_like_uforwarders_is_the_events_own(key: bytes) -> None:
    seen = see([], key=key)
    assert (seen.dialect, seen.key) == ("unknown", key)


def test_a_record_without_a_known_header_is_kept_with_what_can_be_known() -> None:
    seen = see(EVENT, key=None)
    assert origin(seen) == ("unknown", "", None, None, None)
    assert (seen.event_id, seen.schema_id, seen.reason, seen.attempts, seen.key) == ("e-1", 7, "unknown", 1, None)
    assert (see(None, value=None).size, see(None, value=b"").size) == (None, 0)


def test_a_schema_id_may_be_in_a_header() -> None:
    assert see([("__value_schema_id", b"\x00\x00\x00\x00\x09")], value=b"bare").schema_id == 9
    assert see([("__value_schema_id", b"\x01" + b"g" * 16)], value=b"bare").schema_id is None


@pytest.mark.parametrize(
    ("headers", "dialect"),
    [
        (spring() + CONNECT, "connect"),
        (CONNECT + spring(), "spring"),
        (own_letter(headers=spring()).headers, "own"),
        (own_letter().headers + RULE, "confluent"),
        ([("redrive-attempt", b"1"), ("redrive-operation", b"x"), *spring(), ("trace", b"1")], "spring"),
    ],
    ids=["spring connect", "connect spring", "spring own", "own confluent", "replayed spring"],
)
def test_the_last_system_that_added_headers_has_written_the_letter(headers: Headers, dialect: str) -> None:
    assert see(headers).dialect == dialect


def test_an_event_that_was_put_right_before_has_its_attempts_counted_in_every_dialect() -> None:
    assert see([("redrive-attempt", b"2"), *spring()]).attempts == 3


@pytest.mark.parametrize("headers", [EVENT + CONNECT, EVENT + spring(), EVENT + RULE, own_letter().headers])
def test_text_that_may_quote_the_value_is_left_out(headers: Headers) -> None:
    assert b"secret" not in msgspec.json.encode(see(headers))


def test_text_is_cut_and_without_control_characters() -> None:
    first, other = (
        see([("ce_id", b"x" * 5_000 + end), ("kafka_dlt-original-topic", b"t")]).event_id for end in (b"1", b"2")
    )
    assert first is not None
    assert other is not None
    assert (len(first), first == other) == (249, False)
    assert see([("ce_id", b"a\x00b\nc\xff")]).event_id == "a\ufffdb\ufffdc\ufffd"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("org.apache.kafka.common.errors.RecordTooLargeException", "too-large"),
        ("org.apache.kafka.connect.errors.SchemaProjectorException", "incompatible-schema"),
        ("java.lang.NullPointerException", "null-pointer"),
        ("java.sql.SQLException", "sql"),
        ("com.shop.Orders$NoSuchSQLRowError", "no-such-sql-row"),
        ("java.lang.Exception", "exception"),
        ("", "unknown"),
    ],
)
def test_the_class_of_an_exception_becomes_a_code(name: str, code: str) -> None:
    assert reason_of(name) == code
    assert re.fullmatch(r"[a-z0-9-]+", code)


def test_every_class_that_clearly_means_one_of_our_reasons_is_mapped_to_a_code_that_we_have() -> None:
    from redrive.deadletters.dialects.reasons import _SAME

    assert set(_SAME.values()) <= set(REASONS)
