"""Generated encoders: the strict check and the encoding of usual values in one pass of Python code made for a schema.

What they write is to the byte what fastavro writes after the check has passed (see tests/properties), at a multiple of
the speed. Whatever is unusual, good or bad, they leave alone: subclasses, raw numbers where a date is wanted, a value
that does not fit. Then `redrive.avro.codec.Encoder` takes the slow way, where the check decides and says why.

Encodings: Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from io import BytesIO
from struct import Struct
from typing import Any, NamedTuple

import fastavro

from redrive.avro.branches import compile_branches
from redrive.avro.logical_types import instant_range, logical_check
from redrive.avro.schema import WRAPPED, AvroSchema, record_of
from redrive.avro.simple_types import FLOAT_LIMIT, INT, LONG
from redrive.avro.validation import Compiler, Schema, fits

Encode = Callable[[Any], bytes]
"""Raises anything for a value that is unusual."""

_SMALL = 8192
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_UNITS = {"timestamp-millis": 1_000, "timestamp-micros": 1_000_000}
_ABSENT = object()

_TYPES: dict[str, set[type]] = {
    "null": {type(None)},
    "boolean": {bool},
    "int": {int},
    "long": {int},
    "float": {float, int},
    "double": {float, int},
    "string": {str},
    "enum": {str},
    "bytes": {bytes, bytearray},
    "fixed": {bytes, bytearray},
    "array": {list},
    "map": {dict},
    "record": {dict},
    "error": {dict},
}
"""What the check may take for each type without a logical one."""


class UnusualError(Exception):
    """A value that is left to the slow way."""


class _Code(NamedTuple):
    """How to encode one value.

    Attributes:
        test: an expression that is false for other types; ``{v}`` is the value, ``{uses}`` an object it needs.
        result: an expression for the bytes of a good value, if the test was true; it raises for any other.
        uses: that object.
    """

    test: str
    result: str
    uses: object = None


def compile_quick(schema: AvroSchema) -> Encode:
    """Make the encoder of a schema; the schema must be one that `Compiler` takes."""
    return _Quick(schema.named).function(schema.inner)


_MORE = tuple(bytes((bits & 0x7F | 0x80, bits >> 7 | 0x80)) for bits in range(1 << 14))
_LAST = tuple(bytes((bits,) if bits < 0x80 else (bits & 0x7F | 0x80, bits >> 7)) for bits in range(1 << 14))


def _long(number: int) -> bytes:
    """Encode a long: zigzag, then seven bits a byte, the lowest first; two bytes at a time are looked up."""
    rest = (number << 1) ^ (number >> 63)
    data = b""
    while rest >= 1 << 14:
        data += _MORE[rest & 0x3FFF]
        rest >>= 14
    return data + _LAST[rest]


def _number(low: int, high: int) -> Callable[[int], bytes]:
    def encode(number: int) -> bytes:
        if not low <= number <= high:
            raise UnusualError
        return _long(number)

    return encode


_small = tuple(_long(number) for number in (*range(_SMALL), *range(-_SMALL, 0)))
"""The encodings of small numbers: ``_small[n]``, negative ones from the end as Python counts."""


def _text(value: str) -> bytes:
    data = value.encode()
    return _long(len(data)) + data


def _octets(value: bytes) -> bytes:
    return _long(len(value)) + value


def _instant(units_a_second: int) -> Callable[[datetime], bytes]:
    fraction = 1_000_000 // units_a_second

    def encode(value: datetime) -> bytes:
        since = value - _EPOCH
        return _long((since.days * 86_400 + since.seconds) * units_a_second + since.microseconds // fraction)

    return encode


_SPACE: dict[str, Any] = {
    "small": _small,
    "long": _long,
    "checked_int": _number(*INT),
    "checked_long": _number(*LONG),
    "text": _text,
    "octets": _octets,
    "double": Struct("<d").pack,
    "single": Struct("<f").pack,
    "join": b"".join,
    "date": date,
    "datetime": datetime,
    "UTC": UTC,
    "UnusualError": UnusualError,
    "absent": _ABSENT,
}
"""What generated code can name."""

_NUMBER = f"(small[{{v}}] if {-_SMALL} <= {{v}} < {_SMALL} else checked_%s({{v}}))"
_SIMPLE = {
    "null": _Code("{v} is None", "b''"),
    "boolean": _Code("({v} is True or {v} is False)", "(b'\\1' if {v} else b'\\0')"),
    "int": _Code("type({v}) is int", _NUMBER % "int"),
    "long": _Code("type({v}) is int", _NUMBER % "long"),
    "float": _Code(
        f"(type({{v}}) is float and {-FLOAT_LIMIT!r} < {{v}} < {FLOAT_LIMIT!r}"
        f" or type({{v}}) is int and {-(2**24)} <= {{v}} <= {2**24})",
        "single({v})",
    ),
    "double": _Code(f"(type({{v}}) is float or type({{v}}) is int and {-(2**53)} <= {{v}} <= {2**53})", "double({v})"),
    "string": _Code(
        "type({v}) is str",
        f"(small[len({{v}})] + {{v}}.encode() if {{v}}.isascii() and len({{v}}) < {_SMALL} else text({{v}}))",
    ),
    "bytes": _Code("type({v}) is bytes", "octets({v})"),
}


class _Quick:
    """Makes encoders of schemas that share named types."""

    def __init__(self, named: dict[str, Schema]) -> None:
        self._named = named
        self._checks = Compiler(named)
        self._records: dict[str, Encode] = {}  # a recursive type finds itself here

    def function(self, schema: Schema) -> Encode:
        """Make a function that encodes one value."""
        code = self._code(schema)
        lines = [
            "def encode(value):",
            f"    if not ({code.test.format(v='value', uses='uses')}):",
            "        raise UnusualError",
            f"    return {code.result.format(v='value', uses='uses')}",
        ]
        return _compiled(lines, {"uses": code.uses})

    def _code(self, schema: Schema) -> _Code:  # noqa: PLR0911 - one for each kind of type
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            return _SIMPLE.get(schema) or self._code_of_named(schema)
        kind = schema["type"]
        if kind in ("record", "error"):
            return _call(self._record(schema))
        logical = schema.get("logicalType")
        units = _UNITS.get(logical) if isinstance(logical, str) else None
        if units and kind == "long":
            low, high = instant_range(units)
            raw = f"type({{v}}) is int and {low} <= {{v}} <= {high}"
            given = "type({v}) is datetime and {v}.tzinfo is UTC"
            return _Code(f"({given} or {raw})", "(long({v}) if type({v}) is int else {uses}({v}))", _instant(units))
        if logical == "date" and kind == "int":
            return _Code("type({v}) is date", f"long({{v}}.toordinal() - {_EPOCH_DAY})")
        if logical_check(schema):
            return _call(self._slow(schema))
        match kind:
            case "enum":
                symbols = {symbol: _long(number) for number, symbol in enumerate(schema["symbols"])}
                return _Code("type({v}) is str and {v} in {uses}", "{uses}[{v}]", symbols)
            case "fixed":
                return _Code(f"type({{v}}) is bytes and len({{v}}) == {int(schema['size'])}", "{v}")
            case "array":
                return _call(_array(self.function(schema["items"])))
            case "map":
                return _call(_map(self.function(schema["values"])))
        return self._code(kind)

    def _code_of_named(self, name: str) -> _Code:
        definition = self._named[name]
        if definition["type"] not in ("record", "error"):
            return self._code(definition)
        return _call(self._later(name) if name in self._records else self._record(definition))

    def _later(self, name: str) -> Encode:
        """Return an encoder that finds the real one when it is called, for a type that refers to itself."""
        return lambda value: self._records[name](value)  # noqa: PLW0108 (looked up when it is there: types may recur)

    def _union(self, branches: list[Schema]) -> _Code:
        if len(branches) == 2 and "null" in branches:
            null = branches.index("null")
            inner = self._code(branches[1 - null])
            result = f"({_long(null)!r} if {{v}} is None else {_long(1 - null)!r} + {inner.result})"
            return _Code(f"({{v}} is None or {inner.test})", result, inner.uses)
        taken: set[type] = set()
        choices: dict[type, tuple[bytes, Encode]] = {}
        for number, branch in enumerate(branches):
            types = self._types(branch)
            if not types or types & taken:
                return _call(self._slow(branches))  # whose value it is takes a closer look
            taken |= types
            choices |= dict.fromkeys(types, (_long(number), self.function(branch)))

        def choose(value: Any) -> bytes:
            prefix, encode = choices[type(value)]
            return prefix + encode(value)

        return _call(choose)

    def _types(self, schema: Schema) -> set[type]:
        """Return which types of values a union's branch can be told by; none if that is not all there is to it."""
        if isinstance(schema, str) and schema in self._named:
            schema = self._named[schema]
        if isinstance(schema, dict):
            if "logicalType" in schema:
                return set()
            schema = schema["type"]
        return _TYPES.get(schema, set()) if isinstance(schema, str) else set()

    def _record(self, schema: dict[str, Any]) -> Encode:
        """Generate a record's code: its fields are read, tested in one expression, and joined.

        Field names and symbols get into the code only as objects of its name space, never as text.
        """
        self._records[schema["name"]] = self._later(schema["name"])
        space: dict[str, Any] = {}
        reads, tests, results = [], [], []
        for number, field in enumerate(schema["fields"]):
            value, code = f"v{number}", self._code(field["type"])
            space |= {f"name{number}": field["name"], f"uses{number}": code.uses}
            if "default" in field and fits(self._checks.check(field["type"]), field["default"]):
                space[f"default{number}"] = field["default"]
                reads += [
                    f"    {value} = value.get(name{number}, absent)",
                    f"    if {value} is absent:",
                    f"        {value} = default{number}",
                    "        given -= 1",
                ]
            else:
                reads.append(f"    {value} = value[name{number}]")
            if code.test != "True":
                tests.append("(" + code.test.format(v=value, uses=f"uses{number}") + ")")
            results.append(code.result.format(v=value, uses=f"uses{number}"))
        lines = [
            "def encode(value):",
            "    if type(value) is not dict:",
            "        raise UnusualError",
            f"    given = {len(schema['fields'])}",
            *reads,
            f"    if not (given == len(value) and {' and '.join(tests) or 'True'}):",
            "        raise UnusualError",
            f"    return join(({', '.join(results)}{',' if results else ''}))",
        ]
        encode = self._records[schema["name"]] = _compiled(lines, space)
        return encode

    def _slow(self, schema: Schema) -> Encode:
        """Encode a part of a value by the check and fastavro."""
        check, shape = self._checks.check(schema), compile_branches(schema, self._named)
        record = record_of(schema, self._named)

        def encode(value: Any) -> bytes:
            check(value)
            stream = BytesIO()
            fastavro.schemaless_writer(stream, record, {WRAPPED: value if shape is None else shape(value)})
            return stream.getvalue()

        return encode


def _call(encode: Encode) -> _Code:
    return _Code("True", "{uses}({v})", encode)


def _array(item: Encode) -> Encode:
    def encode(value: Any) -> bytes:
        if type(value) is not list:
            raise UnusualError
        return b"".join([_long(len(value)), *map(item, value), b"\0"]) if value else b"\0"

    return encode


def _map(item: Encode) -> Encode:
    def encode(value: Any) -> bytes:
        if type(value) is not dict or any(type(key) is not str for key in value):
            raise UnusualError
        parts = [_text(key) + item(inner) for key, inner in value.items()]
        return b"".join([_long(len(value)), *parts, b"\0"]) if value else b"\0"

    return encode


def _compiled(lines: list[str], space: dict[str, Any]) -> Encode:
    space = _SPACE | space
    exec("\n".join(lines), space)
    encode: Encode = space["encode"]
    return encode
