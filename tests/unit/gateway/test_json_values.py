"""Values that JSON has no type for, as partners send them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from redrive.avro.codec import Decoder, Encoder
from redrive.avro.misfit import Misfit
from redrive.avro.schema import parse
from redrive.gateway.json_values import converter


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


def sent(schema: Any, value: Any) -> Any:
    """Take a value as a partner sends it through a schema, to what a consumer gets."""
    parsed = parse(json.dumps(schema))
    convert = converter(parsed)
    return Decoder(parsed).decode(Encoder(parsed).encode(convert(value) if convert else value))


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MONEY = logical("bytes", "decimal", precision=6, scale=2)


@pytest.mark.parametrize(
    ("schema", "given", "got"),
    [
        (logical("long", "timestamp-millis"), "2026-01-31T12:00:00Z", NOON),
        (logical("long", "timestamp-micros"), "2026-01-31T13:00:00+01:00", NOON),
        (logical("long", "timestamp-millis"), "2026-01-31t12:00:00.0000001z", NOON),
        (logical("long", "timestamp-millis"), int(NOON.timestamp() * 1000), NOON),
        (logical("long", "local-timestamp-millis"), "2026-01-31T12:00:00", NOON.replace(tzinfo=None)),
        (logical("int", "date"), "2026-01-31", date(2026, 1, 31)),
        (logical("int", "time-millis"), "12:30:00", time(12, 30)),
        (MONEY, "12.50", Decimal("12.50")),
        (MONEY, 12, Decimal(12)),
        ("bytes", "aGk=", b"hi"),
        ({"type": "fixed", "name": "F", "size": 2}, "aGk=", b"hi"),
        (["null", MONEY], None, None),
        (["null", MONEY], "1.5", Decimal("1.50")),
        (["bytes", "string"], "aGk=", "aGk="),
        (logical("string", "timestamp-millis"), "2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ({"type": "array", "items": MONEY}, ["1", "2"], [Decimal(1), Decimal(2)]),
        ({"type": "map", "values": "bytes"}, {"a": "aGk="}, {"a": b"hi"}),
        (logical("string", "uuid"), "123e4567-e89b-12d3-a456-426614174000", None),
    ],
)
def test_what_json_has_no_type_for_is_sent_as_text(schema: Any, given: Any, got: Any) -> None:
    assert sent(schema, given) == got or got is None


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (logical("long", "timestamp-millis"), "2026-01-31T12:00:00"),
        (logical("long", "timestamp-millis"), "noon"),
        (logical("long", "timestamp-millis"), "20260131T120000Z"),
        (logical("long", "local-timestamp-millis"), "2026-01-31T12:00:00Z"),
        (logical("int", "date"), "20260131"),
        (logical("int", "time-millis"), "12:30"),
        (logical("int", "date"), "2026-01-31T12:00:00Z"),
        (MONEY, 12.5),
        (MONEY, "12.505"),
        (MONEY, "1e2"),
        (MONEY, "NaN"),
        ("bytes", "no base64!"),
        ("bytes", 7),
        ({"type": "array", "items": MONEY}, {"a": 1}),
    ],
)
def test_what_is_no_such_value_is_refused(schema: Any, given: Any) -> None:
    with pytest.raises(Misfit):
        sent(schema, given)


def test_a_schema_that_has_only_types_of_json_costs_nothing() -> None:
    fields = [{"name": "id", "type": "long"}, {"name": "next", "type": ["null", "Node"], "default": None}]
    assert converter(parse(json.dumps({"type": "record", "name": "Plain", "fields": fields[:1]}))) is None


def test_a_type_within_itself_is_followed_as_deeply_as_the_value_goes() -> None:
    fields = [{"name": "price", "type": MONEY}, {"name": "next", "type": ["null", "Node"], "default": None}]
    node = {"type": "record", "name": "Node", "fields": fields}
    got = sent(node, {"price": "1", "next": {"price": "2", "next": {"price": "3"}}})
    assert got["next"]["next"] == {"price": Decimal(3), "next": None}


def test_records_used_twice_are_turned_in_both_places() -> None:
    money = {"type": "record", "name": "Money", "fields": [{"name": "amount", "type": MONEY}]}
    both = {"type": "record", "name": "Order", "fields": [{"name": "a", "type": money}, {"name": "b", "type": "Money"}]}
    got = sent(both, {"a": {"amount": "1"}, "b": {"amount": "2"}})
    assert (got["a"]["amount"], got["b"]["amount"]) == (1, 2)
