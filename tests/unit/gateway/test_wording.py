"""Partners are told how to send what the schema wants, and nothing of Python."""

from __future__ import annotations

import json
from typing import Any

import pytest

from redrive.avro.codec import Encoder
from redrive.avro.misfit import Misfit
from redrive.avro.schema import parse
from redrive.gateway.json_values import converter
from redrive.gateway.wording import for_senders_of_json


def logical(base: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


DECIMAL = logical("bytes", "decimal", precision=9, scale=2)
LIST = {"type": "array", "items": "int"}


def told(type_: Any, value: Any) -> str:
    """What a partner hears of a value that it sent."""
    schema = parse(json.dumps({"type": "record", "name": "R", "fields": [{"name": "x", "type": type_}]}))
    convert, sent = converter(schema), json.loads(json.dumps({"x": value}))
    with pytest.raises(Misfit) as caught:
        Encoder(schema).encode(convert(sent) if convert else sent)
    return for_senders_of_json(caught.value.reason)


@pytest.mark.parametrize(
    ("type_", "value", "reason"),
    [
        (
            DECIMAL,
            1.5,
            "is a number with a point or an exponent, not a decimal, which is sent as a string, such as "
            '"12.50", or as an integer',
        ),
        (DECIMAL, "1,5", 'is a string, not a decimal, which is sent as a string, such as "12.50", or as an integer'),
        ("bytes", "?", "is a string, not bytes, which are sent as a string, in base64"),
        (LIST, {}, "is an object, not an array"),
        ({"type": "map", "values": "int"}, [], "is an array, not an object"),
        (["null", "int", "string"], 1.5, "is a number with a point or an exponent and fits none of null, int, string"),
        ("long", "7", "is a string, not an integer (long)"),
    ],
)
def test_a_reason_says_how_a_value_is_sent(type_: Any, value: Any, reason: str) -> None:
    assert told(type_, value) == reason


@pytest.mark.parametrize(
    ("type_", "example"),
    [
        (logical("long", "timestamp-millis"), "2026-01-31T12:00:00Z"),
        (logical("long", "local-timestamp-micros"), "2026-01-31T12:00:00"),
        (logical("int", "date"), "2026-01-31"),
        (logical("long", "time-micros"), "12:00:00"),
        (DECIMAL, "12.50"),
    ],
)
def test_the_example_of_a_reason_is_taken(type_: Any, example: str) -> None:
    assert f'"{example}"' in told(type_, "nonsense")
    schema = parse(json.dumps(type_))
    convert = converter(schema)
    assert convert is not None
    Encoder(schema).encode(convert(example))


@pytest.mark.parametrize(
    "type_",
    ["boolean", "int", "float", "double", "string", "bytes", LIST, DECIMAL, {"type": "map", "values": "int"},
     logical("string", "uuid"), logical("long", "timestamp-micros"), logical("long", "local-timestamp-millis"),
     logical("int", "date"), logical("int", "time-millis"), {"type": "fixed", "name": "F", "size": 2},
     {"type": "record", "name": "S", "fields": []}, {"type": "enum", "name": "E", "symbols": ["A"]}],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, "?", 1.5, True, [1.5], {"a": 1}])
def test_no_reason_speaks_of_python(type_: Any, value: Any) -> None:
    try:
        reason = told(type_, value)
    except pytest.fail.Exception:
        return  # the value fits
    assert not [word for word in ("dict", "list", "Decimal", "datetime", "float,", "()") if word in reason], reason
