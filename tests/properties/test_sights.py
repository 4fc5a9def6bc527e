"""Whatever is in a record of a dead-letter topic, it is seen, and what is seen fits into the ledger."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from redrive.deadletters.dialects import DIALECTS, Record, sight
from redrive.events import Headers

NAMES = [
    "ce_id",
    "__value_schema_id",
    *(f"redrive-{name}" for name in ("reason", "topic", "encoding", "partition", "offset", "timestamp", "schema-id")),
    *(f"redrive-{name}" for name in ("attempt", "field", "producer", "lossy")),
    *(
        f"__connect.errors.{name}"
        for name in ("topic", "partition", "offset", "connector.name", "exception.class.name")
    ),
    *(f"kafka_dlt-original-{name}" for name in ("topic", "partition", "offset", "timestamp", "consumer-group")),
    *("kafka_original-topic", "kafka_exception-fqcn", "kafka_dlt-exception-cause-fqcn", "kafka_dlt-key-exception-fqcn"),
    *("__rule.name", "__rule.topic", "__rule.mode"),
]
NUMBERS = st.integers(-(2**63), 2**64).map(lambda number: str(number).encode())
WORDS = st.sampled_from([b"orders", b"raw", b"json", b"invalid-value", b"java.lang.Exception", b"$", b"a.$.b"])
BINARY = st.binary(max_size=20)
VALUES = st.one_of(
    st.none(), BINARY, NUMBERS, WORDS, st.text(max_size=300).map(lambda text: text.encode(errors="replace"))
)
HEADERS: st.SearchStrategy[Headers | None] = st.none() | st.lists(
    st.tuples(st.sampled_from(NAMES) | st.text(max_size=20), VALUES), max_size=25
)
KEYS = st.none() | BINARY | st.binary(max_size=12).map(lambda tail: b"\x12\x06orders\x28\x80\x80\x80\x80\x10" + tail)


@given(headers=HEADERS, key=KEYS, value=st.none() | BINARY)
def test_any_record_is_seen_and_what_is_seen_fits_into_the_ledger(
    headers: Headers | None, key: bytes | None, value: bytes | None
) -> None:
    seen = sight(Record("local", "dlq", 0, 1, 2, headers, key, value))
    assert seen.dialect in DIALECTS
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", seen.reason)
    for text in (seen.event_id or "", seen.cause, seen.field, seen.producer, seen.main_topic):
        assert len(text) <= 260
        assert text.isprintable()
        text.encode()
    for number, bits in ((seen.main_partition, 31), (seen.main_offset, 63), (seen.main_timestamp, 63)):
        assert number is None or 0 <= number < 2**bits
    assert seen.schema_id is None or 0 <= seen.schema_id < 2**32
    assert 1 <= seen.attempts < 2**31
