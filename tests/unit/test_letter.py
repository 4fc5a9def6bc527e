"""Dead letters keep all that is needed to put an event right."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import pytest

from redrive import tagged_json
from redrive.deadletters.letter import (
    letter_of_bytes,
    letter_of_event,
    letter_of_value,
    read_letter,
    stub,
    without_value,
)
from redrive.envelope import headers as envelope_headers
from redrive.errors import LetterFormatError
from redrive.events import Event, Headers

NOW = 1_793_500_000_007
OWN = [*envelope_headers("e-1", source="s", type="orders", time_ms=NOW), ("trace", b"\xff"), ("none", None)]


def of_value(value: Any, **more: Any) -> Event:
    given = {"field": "total", "detail": "is a float", "schema_id": 7} | more
    return letter_of_value(
        "dlq.shop",
        event_id="e-1",
        key=b"\xff\x00",
        value=value,
        headers=OWN,
        topic="orders",
        reason="invalid-value",
        producer="shop",
        timestamp=NOW,
        **given,
    )


def test_a_value_that_fits_no_schema_is_kept_with_its_reason() -> None:
    value = {"total": 1.5, "raw": b"\x00", "at": datetime(2026, 1, 1, tzinfo=UTC)}
    event = of_value(value)
    assert (event.topic, event.key, event.id, event.timestamp) == ("dlq.shop", b"\xff\x00", "e-1", NOW)
    letter = read_letter(event.headers, event.key, event.value)
    assert (letter.value, letter.lossless, letter.encoding) == (value, True, "json")
    assert (letter.id, letter.key, letter.headers) == ("e-1", b"\xff\x00", OWN)
    assert (letter.reason, letter.detail, letter.field) == ("invalid-value", "is a float", "total")
    assert (letter.topic, letter.schema_id, letter.producer) == ("orders", 7, "shop")
    assert (letter.partition, letter.offset, letter.timestamp, letter.attempt) == (None, None, NOW, 1)
    assert datetime.fromisoformat(letter.at).tzinfo


@pytest.mark.parametrize("value", [b"\x01 not framed", b"", None])
def test_bytes_are_kept_as_they_are_with_the_place_they_were_read_from(value: bytes | None) -> None:
    event = letter_of_bytes(
        "dlq.billing",
        event_id="orders/3/17",
        key=None,
        value=value,
        headers=[],
        topic="orders",
        partition=3,
        offset=17,
        reason="bad-frame",
        detail="the first byte is 1",
        producer="billing",
        timestamp=5,
    )
    assert event.value == value
    letter = read_letter(event.headers, event.key, event.value)
    assert (letter.value, letter.encoding, letter.id, letter.key) == (value, "raw", None, None)
    assert (letter.topic, letter.partition, letter.offset, letter.timestamp) == ("orders", 3, 17, 5)
    assert event.timestamp > 5, "a letter of an old event must not expire at once"


def test_an_encoded_event_becomes_a_letter_whole() -> None:
    event = Event("e-1", "orders", b"k", b"\x00\x00\x00\x00\x01x", OWN, NOW)
    made = letter_of_event("dlq.shop", event, reason="too-large", detail="d", producer="shop")
    letter = read_letter(made.headers, made.key, made.value)
    assert (letter.value, letter.headers, letter.timestamp) == (event.value, event.headers, NOW)


def test_each_return_counts_as_an_attempt_and_leaves_one_set_of_headers() -> None:
    headers: Headers = OWN
    for attempt in (1, 2, 3):
        made = letter_of_event(
            "dlq", Event("e", "orders", None, b"", headers, NOW), reason="refused", detail="", producer=""
        )
        assert read_letter(made.headers, None, b"").attempt == attempt
        assert [name for name, _ in made.headers].count("redrive-reason") == 1
        headers = made.headers


def test_ten_thousand_headers_are_kept() -> None:
    many: Headers = [(f"h{i % 7}", str(i).encode()) for i in range(10_000)]
    made = letter_of_event("dlq", Event("e", "t", None, None, many, NOW), reason="refused", detail="", producer="")
    assert read_letter(made.headers, None, None).headers == many


@pytest.mark.parametrize("key", [b"k", b"k" * 1_000_000, None])
@pytest.mark.parametrize("value", [b"v" * 1_000_000, None])
def test_a_stub_is_small_whatever_its_event_was_and_says_where_that_is(key: bytes | None, value: bytes | None) -> None:
    fat = [("ce_id", b"e-2"), *OWN, ("ce_type", b"t" * 1_000_000), *[("trace", b"x" * 100)] * 10_000]
    letter = letter_of_bytes(
        "dlq.billing",
        event_id="e-2",
        key=key,
        value=value,
        headers=fat,
        topic="orders",
        partition=3,
        offset=17,
        timestamp=NOW,
        reason="handler-failed",
        detail="ü" * 5_000,
        field="f" * 5_000,
        producer="billing",
    )
    least = stub(without_value(letter))
    kept = read_letter(least.headers, least.key, least.value)
    assert sum(len(name) + len(text or b"") for name, text in least.headers) + len(least.key or b"") < 8_000
    assert (kept.id, kept.key, kept.value, kept.lossless) == ("e-2", b"k" if key == b"k" else None, None, False)
    assert (kept.topic, kept.partition, kept.offset, kept.timestamp, kept.attempt) == ("orders", 3, 17, NOW, 1)
    assert (kept.reason, kept.producer) == ("handler-failed", "billing")
    assert kept.detail.startswith("ü")
    assert f"its key of {len(key or b''):,} bytes" in kept.detail


def test_a_long_detail_is_cut_and_a_broken_one_does_no_harm() -> None:
    letter = of_value(1, detail="x" * 10_000 + "\ud800")
    assert len(read_letter(letter.headers, None, letter.value).detail) == 1_000
    assert read_letter(of_value(1, detail="\ud800").headers, None, b"1").detail == "?"


@pytest.mark.parametrize(
    ("headers", "value", "reason"),
    [
        (None, b"", "no header redrive-reason"),
        ([("redrive-reason", b"x")], b"", "no header redrive-topic"),
        ("json", b"{", "can't be read"),
        ("json", b'{"$bytes": 5}', "can't be read"),
        ("json", b'{"$map": [[[], 1]]}', "can't be read"),
        ("json", None, "can't be read"),
        ("yaml", b"", "encoding is 'yaml'"),
    ],
)
def test_a_record_that_is_no_letter_is_refused(headers: Any, value: bytes | None, reason: str) -> None:
    if isinstance(headers, str):
        headers = [("redrive-reason", b"x"), ("redrive-topic", b"t"), ("redrive-encoding", headers.encode())]
    with pytest.raises(LetterFormatError, match=reason):
        read_letter(headers, None, value)


def test_a_damaged_number_is_named() -> None:
    damaged = [*of_value(1).headers, ("redrive-offset", b"many")]
    with pytest.raises(LetterFormatError, match="redrive-offset is not a number"):
        read_letter(damaged, None, b"1")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**70),
        pytest.param(10**5000, id="5,000 digits"),
        1e300,
        0.1,
        float("inf"),
        "text \ud800 é \x00",
        b"\x00\xff",
        Decimal("1.10"),
        Decimal("-Infinity"),
        datetime(2026, 1, 1, 12, 30, 15, 7),
        datetime(2026, 1, 1, tzinfo=UTC),
        date(1, 1, 1),
        time(23, 59, 59, 999_999),
        UUID(int=7),
        (1, (2,)),
        [],
        {},
        {1: "a", None: "b", (1, 2): [b"x"], 1.5: {}},
        {"$bytes": "not bytes"},
        {"$map": [["k", "v"]], "$repr": 1},
        [{"a": [{"b": Decimal(1)}]}],
    ],
)
def test_values_are_kept_without_loss(value: Any) -> None:
    data, lossless = tagged_json.encode(value)
    assert lossless
    back = tagged_json.decode(data)
    assert type(back) is type(value)
    assert back == value
    json.loads(data, parse_constant=pytest.fail)


class Colour(Enum):
    RED = 1


class Level(IntEnum):
    HIGH = 5


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Row(dict[str, Any]):
    pass


@pytest.mark.parametrize("value", [float("nan"), Decimal("-NaN"), Decimal("sNaN")])
def test_what_is_not_a_number_is_kept(value: Any) -> None:
    assert str(tagged_json.decode(tagged_json.encode(value)[0])) == str(value)


def test_subclasses_are_kept_as_what_they_are_in_essence() -> None:
    assert tagged_json.encode([Level.HIGH, Row(a=1)]) == (b'[5,{"a":1}]', True)


@pytest.mark.parametrize("value", [Colour.RED, object(), Hostile(), {1, 2}, 1j, {"deep": [Hostile()]}, int, range(3)])
def test_what_can_t_be_kept_is_shown_and_said_to_be_lost(value: Any) -> None:
    letter = of_value(value)
    assert not read_letter(letter.headers, None, letter.value).lossless
    assert b"$repr" in (letter.value or b"")


def test_a_value_that_contains_itself_does_no_harm() -> None:
    """Nor does one that would be larger than the universe when written out."""
    itself: list[Any] = []
    itself += [itself, itself]
    data, lossless = tagged_json.encode(itself)
    assert not lossless
    assert len(data) <= tagged_json.LIMIT


HUGE = {
    "text": "x" * 5_000_000,
    "bytes": {"a": b"\x00" * 5_000_000},
    "parts": list(range(1_000_000)),
    "escapes": "é" * 400_000,
}


@pytest.mark.parametrize("value", HUGE.values(), ids=HUGE.keys())
def test_a_value_beyond_the_limit_is_cut(value: Any) -> None:
    data, lossless = tagged_json.encode(value)
    assert not lossless
    assert len(data) <= tagged_json.LIMIT
    assert tagged_json.decode(data)
