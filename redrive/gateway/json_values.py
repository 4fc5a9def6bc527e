"""Values that JSON has no type for, in the form that people send them, by the schema of their topic.

==========================================  ==============================================================
``timestamp-millis``, ``timestamp-micros``  ``"2026-01-31T12:00:00Z"`` (RFC 3339), or the integer
``local-timestamp-…``                       ``"2026-01-31T12:00:00"`` (the same without offset), or the integer
``date``, ``time-…``                        ``"2026-01-31"``, ``"12:00:00"`` (likewise), or the integer
``decimal``                                 ``"12.50"``; or an integer, but no JSON number with a point
``bytes``, ``fixed``                        base64 (RFC 4648)
==========================================  ==============================================================

All else stands for itself. In a union of several types beside null nothing is turned into something else: it would be a
guess. What can't be turned stays as it is, for the strict check to refuse.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from redrive.avro.schema import AvroSchema
from redrive.gateway import rfc3339

Convert = Callable[[Any], Any]

_DECIMAL = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?")


def converter(schema: AvroSchema) -> Convert | None:
    """Return what turns JSON into values of a schema; None if JSON has a type for all there is in it."""
    return _Converters(schema.named).of(schema.inner)


class _Converters:
    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._of_name: dict[str, Convert | None] = {}

    def of(self, schema: Any) -> Convert | None:  # noqa: PLR0911 - one for each kind of type
        if isinstance(schema, list):
            real = [branch for branch in schema if branch != "null"]
            return self.of(real[0]) if len(real) == 1 else None
        if isinstance(schema, str):
            return self._named_type(schema) if schema in self._named else _SIMPLE.get(schema)
        kind = schema["type"]
        if (logical := _LOGICAL.get((str(kind), schema.get("logicalType")))) is not None:
            return logical
        match kind:
            case "record" | "error":
                return self._record(schema)
            case "array":
                return _each(self.of(schema["items"]), list)
            case "map":
                return _each(self.of(schema["values"]), dict)
            case str():
                return _SIMPLE.get(kind)
        return self.of(kind)

    def _named_type(self, name: str) -> Convert | None:
        """Return the converter of a type that may be within itself: looked up when a value is there."""
        if name not in self._of_name:
            self._of_name[name] = lambda value: convert(value) if (convert := self._of_name[name]) else value
            self._of_name[name] = self.of(self._named[name])
        return self._of_name[name]

    def _record(self, schema: Mapping[str, Any]) -> Convert | None:
        if (name := schema["name"]) not in self._of_name:
            return self._named_type(name)
        found = [(field["name"], self.of(field["type"])) for field in schema["fields"]]
        fields = [(field, convert) for field, convert in found if convert is not None]
        if not fields:
            return None

        def convert_record(value: Any) -> Any:
            if type(value) is not dict:
                return value
            changed = {field: convert(value[field]) for field, convert in fields if field in value}
            return value | changed

        return convert_record


def _each(convert: Convert | None, of: type[list[Any]] | type[dict[str, Any]]) -> Convert | None:
    if convert is None:
        return None
    if of is list:
        return lambda value: [convert(item) for item in value] if type(value) is list else value
    return lambda value: {key: convert(item) for key, item in value.items()} if type(value) is dict else value


def _text(read: Callable[[str], Any]) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is str:
            with suppress(ValueError, binascii.Error):
                return read(value)
        return value

    return convert


def _decimal(value: Any) -> Any:
    if type(value) is int:
        return Decimal(value)
    return Decimal(value) if type(value) is str and _DECIMAL.fullmatch(value) else value


_moment, _local = _text(rfc3339.date_time), _text(rfc3339.local_date_time)
_date, _time = _text(rfc3339.full_date), _text(rfc3339.partial_time)
_octets = _text(lambda text: base64.b64decode(text, validate=True))
_SIMPLE: dict[str, Convert] = {"bytes": _octets, "fixed": _octets}
_LOGICAL: dict[tuple[str, Any], Convert] = {
    ("long", "timestamp-millis"): _moment,
    ("long", "timestamp-micros"): _moment,
    ("long", "local-timestamp-millis"): _local,
    ("long", "local-timestamp-micros"): _local,
    ("int", "date"): _date,
    ("int", "time-millis"): _time,
    ("long", "time-micros"): _time,
    ("bytes", "decimal"): _decimal,
    ("fixed", "decimal"): _decimal,
}
