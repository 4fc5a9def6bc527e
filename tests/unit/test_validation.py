"""What the strict check refuses, where it says the fault is, and what it takes."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest

from redrive.avro.codec import Decoder, Encoder
from redrive.avro.misfit import Misfit
from redrive.avro.schema import parse
from redrive.errors import IncompatibleSchemaError, SchemaError, WireFormatError


class Level(IntEnum):
    HIGH = 5


INF, NAN = float("inf"), float("nan")
EAST = timezone(timedelta(hours=9))


def typed(base: str, logical: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": logical, **more}


MILLIS, LOCAL = typed("long", "timestamp-millis"), typed("long", "local-timestamp-micros")
DATE, TIME, UUID = typed("int", "date"), typed("int", "time-millis"), typed("string", "uuid")
DECIMAL = typed("bytes", "decimal", precision=4, scale=2)
FIXED_DECIMAL = typed("fixed", "decimal", precision=2, scale=1, size=1, name="D")
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
FIXED = {"type": "fixed", "name": "F", "size": 2}


def encoder(schema: Any) -> Encoder:
    return Encoder(parse(json.dumps(schema)))


def round_trip(schema: Any, value: Any) -> Any:
    parsed = parse(json.dumps(schema))
    return Decoder(parsed).decode(Encoder(parsed).encode(value))


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        ("long", 1.5, "is a float, not an integer"),
        ("long", 1.0, "is a float, not an integer"),
        ("long", True, "is a boolean, not an integer"),
        ("long", "1", "is a string, not an integer"),
        ("long", None, "is null, not an integer"),
        ("long", 2**63, "outside the range of long"),
        ("long", -(2**63) - 1, "outside the range of long"),
        ("int", 2**31, "outside the range of int"),
        ("int", 2**40, "outside the range of int"),
        ("double", True, "is a boolean, not a number"),
        ("double", "1.5", "is a string, not a number"),
        ("double", 2**53 + 1, "more digits than double"),
        ("double", Fraction(1, 3), "more digits than double"),
        ("double", 10**400, "outside the range of double"),
        ("float", 3.4028235677973366e38, "outside the range of float"),
        ("float", -3.4028235677973366e38, "outside the range of float"),
        ("float", 1e39, "outside the range of float"),
        ("float", 2**24 + 1, "more digits than float"),
        ("float", 2**200, "outside the range of float"),
        ("string", 1, "is an integer, not a string"),
        ("string", b"x", "is bytes, not a string"),
        ("string", "half \ud83d pair", "half a surrogate pair at character 5"),
        ("bytes", "x", "is a string, not bytes"),
        ("boolean", 1, "is an integer, not a boolean"),
        ("null", 0, "is an integer, not null"),
        (ENUM, "C", "is not one of the symbols A, B"),
        (ENUM, ["A"], "is a list, not one of the symbols"),
        (FIXED, b"abc", "has 3 bytes instead of the schema's 2"),
        ({"type": "array", "items": "int"}, (1, 2), "is a tuple \\(write a list\\)"),
        ({"type": "array", "items": "int"}, "ab", "is a string, not a list"),
        ({"type": "map", "values": "int"}, [], "is a list, not a map"),
        ({"type": "map", "values": "int"}, {1: 1}, "has a key \\(1\\) that is an integer"),
        ({"type": "map", "values": "int"}, {"\ud800": 1}, "half a surrogate pair"),
        (["null", "int"], "x", "is a string, not an integer"),
        (["int", "string", "null"], 1.5, "fits none of int, string, null"),
        (MILLIS, datetime(2026, 1, 1), "without a time zone"),
        (MILLIS, 10**15, "can hold"),
        (MILLIS, datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-9))), "outside the years"),
        (LOCAL, datetime(2026, 1, 1, tzinfo=UTC), "with a time zone"),
        (DATE, datetime(2026, 1, 1), "is a datetime, not a date"),
        (DATE, "2026-01-01", "is a string"),
        (TIME, time(1, tzinfo=UTC), "with a time zone"),
        (TIME, 86_400_000, "can hold"),
        (UUID, "not-a-uuid", "is not a UUID"),
        (UUID, 5, "is an integer, not a UUID"),
        (DECIMAL, Decimal("1.005"), "more than the 2 decimal places"),
        (DECIMAL, Decimal("100"), "more than the 4 digits"),
        (DECIMAL, Decimal("1E+999999"), "more than the 4 digits"),
        (DECIMAL, Decimal("0E+999999"), "more than the 4 digits"),
        (DECIMAL, Decimal("NaN"), "is not a number"),
        (DECIMAL, 1.5, "is a float, not a Decimal"),
        (DECIMAL, b"", "is empty"),
        (FIXED_DECIMAL, Decimal("-0.0"), "minus zero"),
        (FIXED_DECIMAL, b"12", "has 2 bytes instead"),
        ("int", object(), "of type builtins.object"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_reason(schema: Any, value: Any, reason: str) -> None:
    """Alone and as a field of a record, which has code of its own."""
    record = {"type": "record", "name": "R", "fields": [{"name": "f", "type": schema}]}
    for encode, given, field in [(encoder(schema).encode, value, ""), (encoder(record).encode, {"f": value}, "f")]:
        with pytest.raises(Misfit) as caught:
            encode(given)
        assert caught.value.field == field
        assert re.search(reason, caught.value.reason), caught.value.reason


@pytest.mark.parametrize(
    ("schema", "value", "back"),
    [
        ("int", -(2**31), -(2**31)),
        ("long", 2**63 - 1, 2**63 - 1),
        ("long", Level.HIGH, 5),
        ("double", 3, 3.0),
        ("double", INF, INF),
        ("double", Fraction(1, 2), 0.5),
        ("float", -INF, -INF),
        ("float", 3.4028234663852886e38, 3.4028234663852886e38),
        ("float", 0.1, 0.10000000149011612),
        ("string", "naïve 🚂\x00", "naïve 🚂\x00"),
        ("bytes", bytearray(b"ab"), b"ab"),
        (ENUM, "B", "B"),
        (["null", ENUM], None, None),
        (MILLIS, datetime(2026, 1, 1, 9, tzinfo=EAST), datetime(2026, 1, 1, tzinfo=UTC)),
        (MILLIS, 0, datetime(1970, 1, 1, tzinfo=UTC)),
        (["null", DATE], date(1, 1, 1), date(1, 1, 1)),
        (TIME, time(23, 59, 59, 999_999), time(23, 59, 59, 999_000)),
        (UUID, uuid.UUID(int=5), uuid.UUID(int=5)),
        (DECIMAL, Decimal("-99.99"), Decimal("-99.99")),
        (DECIMAL, Decimal(0), Decimal(0)),
        (FIXED_DECIMAL, Decimal("-9.9"), Decimal("-9.9")),
        (["null", DATE, "string"], "2026-01-01", "2026-01-01"),
        (["null", "double", "long"], 2**60, 2**60),
        (["float", "double"], 0.1, 0.1),
        ([{"type": "array", "items": "int"}, "bytes"], b"ab", b"ab"),
        ([DATE, "long"], 5, 5),
    ],
)
def test_a_value_that_fits_comes_back(schema: Any, value: Any, back: Any) -> None:
    record = {"type": "record", "name": "R", "fields": [{"name": "f", "type": schema}]}
    assert round_trip(schema, value) == back
    assert round_trip(record, {"f": value}) == {"f": back}


def test_nan_fits_a_double() -> None:
    assert round_trip("double", NAN) != round_trip("double", NAN)


ORDER = {
    "type": "record",
    "name": "shop.Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "map", "values": "int"}, "default": {}},
        {
            "name": "items",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Item",
                    "fields": [{"name": "sku", "type": "string"}, {"name": "price", "type": "double"}],
                },
            },
        },
        {"name": "paid", "type": ["null", "Item", "string"], "default": None},
    ],
}
GOOD = {"id": 1, "items": [{"sku": "a", "price": 1.0}]}


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"id": True}, "id", "is a boolean"),
        ({"items": [{"sku": "a", "price": 1.0}, {"sku": "b", "price": "2"}]}, "items[1].price", "is a string"),
        ({"items": [{"sku": "a"}]}, "items[0].price", "is missing and has no default"),
        ({"items": [{"sku": "a", "price": 1.0, "colour": 1}]}, "items[0].colour", "is not in the schema"),
        ({"tags": {"ok": 1, "bad": 1.5}}, "tags['bad']", "is a float"),
        ({"note": 5}, "note", "is an integer, not a string"),
        ({"paid": {"sku": "a", "price": None}}, "paid.price", "is null"),
        ({"extra": 1}, "extra", "is not in the schema"),
        ({"-type": "Order"}, "-type", "is not in the schema"),
        ({5: 1}, "5", "is not in the schema"),
        ({"x" * 1_000_000: 1}, "'" + "x" * 78 + "…", "is not in the schema"),
    ],
)
def test_the_path_leads_to_the_field(change: dict[Any, Any], field: str, reason: str) -> None:
    with pytest.raises(Misfit) as caught:
        encoder(ORDER).encode(GOOD | change)
    assert caught.value.field == field.removeprefix("'")
    assert reason in caught.value.reason


@pytest.mark.parametrize("value", [None, 5, [], "x", object()])
def test_something_that_is_no_record_is_refused(value: Any) -> None:
    with pytest.raises(Misfit, match="not a record"):
        encoder(ORDER).encode(value)


def test_missing_fields_get_their_defaults() -> None:
    assert round_trip(ORDER, GOOD) == GOOD | {"note": None, "tags": {}, "paid": None}


def test_a_default_that_does_not_fit_is_no_default() -> None:
    """fastavro would raise, or write something else, when the field is missing."""
    schema = {"type": "record", "name": "R", "fields": [{"name": "e", "type": ENUM, "default": "Z"}]}
    with pytest.raises(Misfit, match="is missing and has no default"):
        encoder(schema).encode({})


def test_defaults_have_the_type_that_decoding_gives() -> None:
    """Bytes are bytes, and a timestamp is a datetime, for the writer as for the reader that fills a new field."""
    fields = [{"name": "b", "type": "bytes", "default": "\u00ff"}, {"name": "t", "type": MILLIS, "default": 0}]
    full = {"b": b"\xff", "t": datetime(1970, 1, 1, tzinfo=UTC)}
    assert round_trip({"type": "record", "name": "R", "fields": fields}, {}) == full
    old = parse('{"type": "record", "name": "R", "fields": []}')
    new = parse(json.dumps({"type": "record", "name": "R", "fields": fields}))
    assert Decoder(old, new).decode(b"") == full


def test_a_default_changed_by_one_reader_of_an_event_does_not_change_the_next() -> None:
    old = parse('{"type": "record", "name": "R", "fields": []}')
    field = {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}
    decoder = Decoder(old, parse(json.dumps({"type": "record", "name": "R", "fields": [field]})))
    decoder.decode(b"")["tags"].append("mine")
    assert decoder.decode(b"") == {"tags": []}


def test_a_record_takes_any_kind_of_dict() -> None:
    class Row(dict[str, Any]):
        pass

    assert round_trip(ORDER, Row(GOOD))["id"] == 1


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}


def test_a_recursive_type_is_followed() -> None:
    value = {"next": {"next": {"next": None}}}
    assert round_trip(NODE, value) == value
    with pytest.raises(Misfit) as caught:
        encoder(NODE).encode({"next": {"next": {"next": 5}}})
    assert caught.value.field == "next.next.next"


def test_a_value_nested_too_deeply_is_refused() -> None:
    """Also one that contains itself."""
    endless: dict[str, Any] = {}
    endless["next"] = endless
    with pytest.raises(Misfit, match="nested too deeply"):
        encoder(NODE).encode(endless)


@pytest.mark.parametrize("depth", [5_000, 100_000])
def test_bytes_nested_too_deeply_do_not_end_the_process(depth: int) -> None:
    """fastavro's own decoder overflows the stack of the process on these."""
    with pytest.raises(WireFormatError, match="nested too deeply"):
        Decoder(parse(json.dumps(NODE))).decode(b"\x02" * depth + b"\x00")


def test_a_long_body_of_a_recursive_schema_is_read_all_the_same() -> None:
    tree = {"type": "record", "name": "Tree", "fields": [{"name": "of", "type": {"type": "array", "items": "Tree"}}]}
    value = {"of": [{"of": []} for _ in range(5_000)]}
    assert round_trip(tree, value) == value


@pytest.mark.parametrize("items", ["null", {"type": "record", "name": "Empty", "fields": []}])
def test_a_schema_by_which_ten_bytes_keep_the_decoder_busy_for_ever_is_refused(items: Any) -> None:
    with pytest.raises(SchemaError, match="items take no bytes"):
        Decoder(parse(json.dumps({"type": "array", "items": items})))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "ends within"),
        (b"\x80", "ends within"),
        (b"\x02\x06ab", "ends within"),
        (b"\x02\x04ab\x00", "1 bytes are left"),
        (b"\x02\x02\xff", "corrupt"),
        (b"\x02\x01", "ends within|corrupt"),
    ],
)
def test_a_body_that_is_not_exactly_one_value_is_refused(body: bytes, reason: str) -> None:
    fields = [{"name": "n", "type": "int"}, {"name": "s", "type": "string"}]
    with pytest.raises(WireFormatError, match=reason):
        Decoder(parse(json.dumps({"type": "record", "name": "R", "fields": fields}))).decode(body)


def test_schemas_that_can_t_be_resolved_are_said_to_be_so() -> None:
    with pytest.raises(IncompatibleSchemaError, match="written with old, wanted as new"):
        Decoder(parse('"string"', name="old"), parse('"int"', name="new")).decode(b"\x02a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '"nothing"',
        '{"type": "record"}',
        '{"type": "array"}',
        "5",
        '{"type": "enum", "name": "E", "symbols": 5}',
    ],
)
def test_text_that_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(SchemaError, match="orders-value"):
        Encoder(parse(text, name="orders-value"))


def test_a_decimal_without_precision_is_refused_when_the_schema_is_read_not_with_the_first_event() -> None:
    with pytest.raises(SchemaError, match="precision"):
        encoder(typed("bytes", "decimal"))


def test_a_schema_may_refer_to_others() -> None:
    """Also a union of references at the top, the usual form of a topic with several types of events."""
    references = ['{"type": "record", "name": "ns.A", "fields": [{"name": "a", "type": "int"}]}']
    references += ['{"type": "record", "name": "ns.B", "fields": [{"name": "of", "type": "ns.A"}]}']
    schema = parse('["ns.A", "ns.B"]', references=references)
    for value in ({"a": 1}, {"of": {"a": 2}}):
        assert Decoder(schema).decode(Encoder(schema).encode(value)) == value


def test_of_two_records_the_one_that_fits_is_written() -> None:
    """fastavro would choose the first, whose missing field may be null, and then fail."""
    one = {
        "type": "record",
        "name": "One",
        "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": ["null", "int"]}],
    }
    two = {"type": "record", "name": "Two", "fields": [{"name": "x", "type": "int"}]}
    assert round_trip([one, two], {"x": 1}) == {"x": 1}
