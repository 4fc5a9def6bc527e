"""What is usual in events is encoded by the generated code; only what is not takes the slow way."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from redrive.avro.codec import Decoder, Encoder
from redrive.avro.quick import compile_quick
from redrive.avro.schema import parse

LINE = {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


@pytest.mark.parametrize("number", [0, -1, 63, 64, -64, -65, 8191, 8192, -8192, -8193, 2**31 - 1, -(2**63), 2**63 - 1])
def test_numbers_of_any_size(number: int) -> None:
    assert goes_quickly("long", number) == number


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("string", "naïve 🚂" * 3_000),
        ("string", "x" * 20_000),
        ("bytes", b"\0" * 10_000),
        ("boolean", True),
        ("double", 5),
        ("float", 0.5),
        (["null", "string"], None),
        (["string", "null"], "x"),
        (["null", "string", "long", LINE], {"sku": "x"}),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
        ({"type": "fixed", "name": "F", "size": 2}, b"ab"),
        ({"type": "array", "items": LINE}, [{"sku": "x"}, {"sku": "y"}]),
        ({"type": "map", "values": ["null", "double"]}, {"ä": 0.5, "b": None}),
        (MILLIS, datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        ({"type": "int", "logicalType": "date"}, date(1969, 12, 31)),
    ],
)
def test_values_of_each_type(schema: Any, value: Any) -> None:
    assert goes_quickly(schema, value) == value


def test_fields_with_a_default_may_be_missing() -> None:
    fields = [{"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"], "default": None}]
    schema = {"type": "record", "name": "Order", "fields": fields}
    assert goes_quickly(schema, {"id": 1}) == {"id": 1, "note": None}
    assert goes_quickly(schema, {"id": 1, "note": "x"}) == {"id": 1, "note": "x"}


def test_a_field_that_needs_a_closer_look_does_not_slow_down_the_others() -> None:
    fields = [{"name": "id", "type": "long"}, {"name": "either", "type": ["long", "double", "string"]}]
    schema = {"type": "record", "name": "Order", "fields": fields}
    assert goes_quickly(schema, {"id": 1, "either": 0.5}) == {"id": 1, "either": 0.5}


def test_types_that_refer_to_themselves() -> None:
    fields = [{"name": "next", "type": ["null", "Chain"], "default": None}]
    schema = {"type": "record", "name": "Chain", "fields": fields}
    value: dict[str, Any] = {"next": {"next": {"next": None}}}
    assert goes_quickly(schema, value) == value


def goes_quickly(schema: Any, value: Any) -> Any:
    """Encode by generated code, to the same bytes as the slow way; give what is read back."""
    parsed = parse(json.dumps(schema))
    data = compile_quick(parsed)(value)
    assert data == Encoder(parsed)._encode(value)
    return Decoder(parsed).decode(data)
