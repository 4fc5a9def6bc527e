"""Strategies for Avro schemas and values of them, and what decoding must give for a value."""

from __future__ import annotations

import itertools
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from redrive.avro.schema import AvroSchema
from redrive.avro.validation import Compiler, branch_order, fits

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXT = st.text(max_size=8)
LOGICAL = [
    ("long", "timestamp-millis"),
    ("long", "timestamp-micros"),
    ("long", "local-timestamp-millis"),
    ("long", "local-timestamp-micros"),
    ("int", "date"),
    ("int", "time-millis"),
    ("long", "time-micros"),
    ("string", "uuid"),
    ("long", "no-such-type"),
]
PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "string", "bytes"]


@st.composite
def schemas(draw: st.DrawFn, choices: bool = True) -> Any:
    """Draw a schema in JSON form; ``choices`` allows unions with several branches beside null."""
    made: list[str] = []
    number = itertools.count()

    def fresh(prefix: str) -> str:
        made.append(f"{prefix}{next(number)}")
        return made[-1]

    def simple() -> Any:  # noqa: PLR0911
        kind = draw(st.sampled_from(["primitive"] * 4 + ["logical", "decimal", "enum", "fixed", "again"]))
        if kind == "again" and made:
            return draw(st.sampled_from([name for name in made if not name.startswith("R")] or ["string"]))
        if kind == "logical":
            base, logical = draw(st.sampled_from(LOGICAL))
            return {"type": base, "logicalType": logical}
        if kind == "decimal":
            precision = draw(st.integers(1, 6))
            scale = draw(st.integers(0, precision))
            decimal = {"logicalType": "decimal", "precision": precision, "scale": scale}
            if draw(st.booleans()):
                return {"type": "bytes", **decimal}
            return {"type": "fixed", "size": draw(st.integers(3, 5)), "name": fresh("D"), **decimal}
        if kind == "enum":
            return {"type": "enum", "name": fresh("E"), "symbols": ["A", "B", "C"]}
        if kind == "fixed":
            return {"type": "fixed", "name": fresh("F"), "size": draw(st.integers(0, 4))}
        return draw(st.sampled_from(PRIMITIVES))

    def any_schema(depth: int, inside: tuple[str, ...] = ()) -> Any:  # noqa: PLR0911
        kind = draw(st.sampled_from(["simple"] * 3 + ["record", "array", "map", "nullable", "union", "self"]))
        if depth == 0 or kind == "simple":
            return simple()
        if kind == "record":
            name = fresh("R")
            fields = []
            for at in range(draw(st.integers(0, 4))):
                field = {"name": f"f{at}", "type": any_schema(depth - 1, (*inside, name))}
                if draw(st.integers(0, 3)) == 0:
                    field |= default_of(field["type"])
                fields.append(field)
            return {"type": "record", "name": name, "fields": fields}
        if kind == "array":
            items = any_schema(depth - 1, inside)
            return {"type": "array", "items": items if items != "null" else "int"}
        if kind == "map":
            return {"type": "map", "values": any_schema(depth - 1, inside)}
        if kind == "self" and inside:
            return ["null", inside[-1]]
        if kind == "union" and choices:
            branches: dict[str, Any] = {}
            for _ in range(draw(st.integers(2, 4))):
                known = len(made)
                branch = any_schema(depth - 1, inside)
                if not isinstance(branch, list):
                    base = branch if isinstance(branch, str) else branch.get("name", branch["type"])
                    if branches.setdefault(base, branch) is branch:
                        continue
                del made[known:]  # they went with the branch
            return list(branches.values()) or ["null", "string"]
        inner = any_schema(depth - 1, inside)
        return inner if isinstance(inner, list) or inner == "null" else ["null", inner]

    def default_of(schema: Any) -> dict[str, Any]:
        if isinstance(schema, list):
            return {"default": None} if schema[0] == "null" else {}
        base = schema if isinstance(schema, str) else schema["type"]
        plain = {"null": None, "boolean": True, "int": 7, "long": 7, "float": 0.5, "double": 0.5, "string": "dé"}
        if isinstance(schema, dict) and "logicalType" in schema:
            return {"default": 7} if base in ("int", "long") else {}
        return {"default": {**plain, "bytes": "\u00ff0", "array": [], "map": {}}[base]} if base in plain else {}

    return any_schema(draw(st.integers(0, 3)))


def value_of(schema: Any, named: dict[str, Any], depth: int = 6) -> st.SearchStrategy[Any]:  # noqa: PLR0911, PLR0912
    """Draw a valid value of a parsed schema."""
    if isinstance(schema, list):
        branches = [b for b in schema if depth > 0 or b == "null"] or schema
        return st.one_of([value_of(branch, named, depth - 1) for branch in branches])
    if isinstance(schema, str) and schema in named:
        return st.deferred(lambda: value_of(named[schema], named, depth - 1))
    base = schema if isinstance(schema, str) else schema["type"]
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    match base, logical:
        case _, "timestamp-millis" | "timestamp-micros":
            scale = 1_000 if logical == "timestamp-millis" else 1_000_000
            raw = st.integers(-62_135_596_800 * scale, 253_402_300_800 * scale - 1)
            return st.one_of(
                raw, st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.timezones()).filter(_in_utc)
            )
        case _, "local-timestamp-millis" | "local-timestamp-micros":
            return st.datetimes() | st.integers(0, 10**9)
        case _, "date":
            return st.dates() | st.integers(-719162, 2932896)
        case _, "time-millis" | "time-micros":
            return st.times() | st.integers(0, 86_399_999 * (1 if logical == "time-millis" else 1000))
        case _, "uuid":
            return st.uuids() | st.uuids().map(str)
        case _, "decimal":
            limit = 10 ** schema["precision"] - 1
            return st.integers(-limit, limit).map(lambda n: Decimal(n).scaleb(-schema.get("scale", 0)))
    match base:
        case "record":
            fields = schema["fields"]
            inner = {f["name"]: value_of(f["type"], named, depth - 1) for f in fields}
            optional = {f["name"]: inner.pop(f["name"]) for f in fields if "default" in f}
            return st.fixed_dictionaries(inner, optional=optional)
        case "array":
            return st.lists(value_of(schema["items"], named, depth - 1), max_size=3 if depth > 0 else 0)
        case "map":
            return st.dictionaries(TEXT, value_of(schema["values"], named, depth - 1), max_size=3 if depth > 0 else 0)
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "fixed":
            return st.binary(min_size=schema["size"], max_size=schema["size"])
    plain: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(width=32) | st.floats(-3e38, 3e38) | st.integers(-(2**24), 2**24),
        "double": st.floats() | st.integers(-(2**53), 2**53),
        "string": TEXT,
        "bytes": st.binary(max_size=8),
    }
    return plain[base]


def _in_utc(value: datetime) -> bool:
    try:
        value.astimezone(UTC)
    except (OverflowError, ValueError):
        return False
    return True


ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**31, -(2**31) - 1, 2**63, -(2**63) - 1, 2**24 + 1, 2**53 + 1, 10**400]),
        st.floats(),
        st.sampled_from([1e39, 3.4028235677973366e38, -3.4028235e38, 1.5]),
        st.text(max_size=4, alphabet=st.characters(exclude_categories=())),
        st.sampled_from(["A", "B", "\ud800", "2020-01-01", "12:00:00", "not-a-uuid"]),
        st.binary(max_size=5),
        st.binary(max_size=3).map(bytearray),
        st.decimals(),
        st.fractions(),
        st.complex_numbers(),
        st.dates(),
        st.datetimes(),
        st.datetimes(timezones=st.timezones()),
        st.times(),
        st.times(timezones=st.just(UTC)),
        st.uuids(),
        st.sampled_from([object(), int, ..., (1, 2), ("string", "x"), {1, 2}, range(3), memoryview(b"x")]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.sampled_from(["f0", "f1", "f2", "f3", "-type", "\ud800", 1, None]), inner, max_size=4),
    ),
    max_leaves=8,
)


def spoiled(value: Any) -> st.SearchStrategy[Any]:
    """Draw a value with one part of it, or the whole, replaced, dropped or added."""
    if isinstance(value, dict) and value:
        key = st.sampled_from(list(value))
        return st.one_of(
            key.flatmap(lambda k: spoiled(value[k]).map(lambda v: {**value, k: v})),
            key.map(lambda k: {name: item for name, item in value.items() if name != k}),
            ANYTHING.map(lambda v: {**value, "extra": v}),
        )
    if isinstance(value, list) and value:
        at = st.integers(0, len(value) - 1)
        return at.flatmap(lambda i: spoiled(value[i]).map(lambda v: [*value[:i], v, *value[i + 1 :]]))
    return ANYTHING


def expected(value: Any, schema: Any, parsed: AvroSchema) -> Any:  # noqa: PLR0911, PLR0912 - one for each kind
    """Return what decoding must give for a valid value."""
    named = parsed.named
    if isinstance(schema, list):
        for branch in branch_order(schema):
            if fits(Compiler(named).check(branch), value):
                return expected(value, branch, parsed)
    if isinstance(schema, str) and schema in named:
        return expected(value, named[schema], parsed)
    base = schema if isinstance(schema, str) else schema["type"]
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    match base, logical, value:
        case _, "timestamp-millis", datetime():
            value = value.astimezone(UTC)
            return value.replace(microsecond=value.microsecond // 1000 * 1000)
        case _, "timestamp-millis", int():
            return EPOCH + timedelta(milliseconds=value)
        case _, "timestamp-micros", int():
            return EPOCH + timedelta(microseconds=value)
        case _, "local-timestamp-millis", datetime():
            return value.replace(microsecond=value.microsecond // 1000 * 1000)
        case _, "local-timestamp-millis", int():
            return EPOCH.replace(tzinfo=None) + timedelta(milliseconds=value)
        case _, "local-timestamp-micros", int():
            return EPOCH.replace(tzinfo=None) + timedelta(microseconds=value)
        case _, "date", int():
            return date.fromordinal(date(1970, 1, 1).toordinal() + value)
        case _, "time-millis", time():
            return value.replace(microsecond=value.microsecond // 1000 * 1000)
        case _, "time-millis", int():
            return (EPOCH + timedelta(milliseconds=value)).time()
        case _, "time-micros", int():
            return (EPOCH + timedelta(microseconds=value)).time()
        case _, "uuid", str():
            return UUID(value)
        case _, "decimal", bytes() | bytearray():
            return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-schema.get("scale", 0))
        case "float", _, _:
            return struct.unpack("<f", struct.pack("<f", value))[0]
        case "record", _, _:
            fields = {field["name"]: field for field in schema["fields"]}
            return {n: expected(value.get(n, f.get("default")), f["type"], parsed) for n, f in fields.items()}
        case "array", _, _:
            return [expected(item, schema["items"], parsed) for item in value]
        case "map", _, _:
            return {key: expected(item, schema["values"], parsed) for key, item in value.items()}
    return value


def same(one: Any, other: Any) -> bool:
    """Compare with NaN equal to itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, datetime) and isinstance(other, datetime) and one.tzinfo and other.tzinfo:
        # In a time zone's odd hours, Python takes no two times of different zones for equal.
        return one.astimezone(UTC) == other.astimezone(UTC)
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124
