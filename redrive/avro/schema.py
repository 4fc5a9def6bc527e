"""Parsing schemas, and what is done about three traps of fastavro's.

- Defaults are brought into the form that decoding gives. fastavro keeps them as in JSON, so that a default for
  bytes can't be written, and a reader gets a string for it, or an integer where a datetime is promised.
- A schema that is not a record is put into one with a single field (the bytes are the same): fastavro resolves
  references between named types in records only.
- Schemas by which a few bytes can crash or hang the decoder are recognised: see `AvroSchema`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import fastavro

from redrive.errors import SchemaError

WRAPPED = "value"
"""The field that holds the value of a schema that is not a record."""


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """A schema ready for work.

    Attributes:
        name: what to call it in errors: a subject, a file or an id.
        inner: the schema itself, as parsed by fastavro.
        record: ``inner`` if that is a record, else a record around it.
        named: name → definition of every named type in it.
        recursive: a type contains itself, so that a value can be nested as deeply as it has bytes.
        endless: an array has items that take no bytes, so that a short body can ask for 2**63 of them.
        container_defaults: a field has a list or dict as its default, which fastavro hands out again and again.
    """

    name: str
    inner: Any
    record: dict[str, Any]
    named: dict[str, Any]
    recursive: bool
    endless: bool
    container_defaults: bool

    @property
    def wrapped(self) -> bool:
        """Whether ``record`` is a record around ``inner``."""
        return self.record is not self.inner


def parse(text: str, *, name: str = "", references: Sequence[str] = ()) -> AvroSchema:
    """Parse an Avro schema in JSON.

    Args:
        text: the schema.
        name: what to call it in errors.
        references: the schemas that it refers to by name, in JSON, each after those that it needs itself.

    Raises:
        SchemaError: not JSON, or not Avro.
    """
    named: dict[str, Any] = {}
    try:
        for reference in references:
            _settle_defaults(fastavro.parse_schema(json.loads(reference), named), named)
        inner = fastavro.parse_schema(json.loads(text), named)
        _settle_defaults(inner, named)
        record = cast(dict[str, Any], inner) if _is_record(inner) else record_of(inner, named)
    except json.JSONDecodeError as error:
        raise SchemaError(name, f"is not JSON: {error}") from error
    except Exception as error:  # fastavro raises whatever a malformed schema leads to
        raise SchemaError(name, f"is not valid Avro: {type(error).__name__}: {error}") from error
    fields = [field for schema in _walk(inner, named) if _is_record(schema) for field in schema["fields"]]
    return AvroSchema(
        name=name,
        inner=inner,
        record=record,
        named=named,
        recursive=_is_recursive(inner, named, ()),
        endless=any(
            schema["type"] == "array" and not _takes_bytes(schema["items"], named, ())
            for schema in _walk(inner, named)
            if isinstance(schema, dict)
        ),
        container_defaults=any(isinstance(field.get("default"), list | dict) for field in fields),
    )


def _is_record(schema: Any) -> bool:
    return isinstance(schema, dict) and schema["type"] in ("record", "error")


def record_of(schema: Any, named: dict[str, Any]) -> dict[str, Any]:
    """Return a record with one field, `WRAPPED`, of type ``schema``; its bytes are those of the schema itself.

    It bears fastavro's own marks of a parsed schema: parsing it again would trip over the settled defaults.
    """
    fields = [{"name": WRAPPED, "type": schema}]
    return {"type": "record", "name": "Wrapped", "fields": fields, "__fastavro_parsed": True, "__named_schemas": named}


def _parts(schema: Any) -> list[Any]:
    """Return the schemas directly inside one."""
    if isinstance(schema, list):
        return schema
    if not isinstance(schema, dict):
        return []
    if _is_record(schema):
        return [field["type"] for field in schema["fields"]]
    inner = schema.get("items", schema.get("values"))
    if inner is not None:
        return [inner]
    return [schema["type"]] if isinstance(schema["type"], dict | list) else []


def _walk(schema: Any, named: dict[str, Any]) -> Iterator[Any]:
    """Yield every schema reachable from one, each named type once."""
    seen: set[str] = set()
    waiting = [schema]
    while waiting:
        current = waiting.pop()
        if isinstance(current, str) and current in named:
            current = named[current]
        name = current.get("name") if isinstance(current, dict) else None
        if name is None or name not in seen:
            seen.add(name or "")
            yield current
            waiting += _parts(current)


def _is_recursive(schema: Any, named: dict[str, Any], inside: tuple[str, ...]) -> bool:
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    if _is_record(schema):
        if schema["name"] in inside:
            return True
        inside = (*inside, schema["name"])
    return any(_is_recursive(part, named, inside) for part in _parts(schema))


def _takes_bytes(schema: Any, named: dict[str, Any], inside: tuple[str, ...]) -> bool:
    """Say whether every value of a schema takes at least one byte."""
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    if _is_record(schema):
        if schema["name"] in inside:
            return True
        return any(_takes_bytes(part, named, (*inside, schema["name"])) for part in _parts(schema))
    if isinstance(schema, dict) and schema["type"] == "fixed":
        return bool(schema["size"])
    return bool(schema not in ("null", {"type": "null"}))


def _settle_defaults(schema: Any, named: dict[str, Any]) -> None:
    """Bring the defaults of all fields defined in ``schema`` into the form that decoding gives; inner ones first."""
    for part in _parts(schema):
        _settle_defaults(part, named)
    for field in schema["fields"] if _is_record(schema) else ():
        if "default" in field:
            default = _with_bytes(field["default"], field["type"], named)
            with suppress(Exception):  # a default that does not fit stays; the validator then asks for the field
                field["default"] = _as_decoded(default, field["type"], named)


def _with_bytes(default: Any, schema: Any, named: dict[str, Any]) -> Any:
    """Turn the strings that stand for bytes in a JSON default into bytes: one character, one byte."""
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    if isinstance(schema, list):
        return _with_bytes(default, schema[0], named)
    base = schema["type"] if isinstance(schema, dict) else schema
    if base in ("bytes", "fixed") and isinstance(default, str):
        return default.encode("latin-1")
    if base == "array" and isinstance(default, list):
        return [_with_bytes(item, schema["items"], named) for item in default]
    if base == "map" and isinstance(default, dict):
        return {key: _with_bytes(item, schema["values"], named) for key, item in default.items()}
    if base in ("record", "error") and isinstance(default, dict):
        types = {field["name"]: field["type"] for field in schema["fields"]}
        return {key: _with_bytes(item, types.get(key, "null"), named) for key, item in default.items()}
    return default


def _as_decoded(default: Any, schema: Any, named: dict[str, Any]) -> Any:
    record = record_of(schema, named)
    stream = BytesIO()
    fastavro.schemaless_writer(stream, record, {WRAPPED: default}, strict_allow_default=True)
    stream.seek(0)
    return fastavro.schemaless_reader(stream, record)[WRAPPED]  # type: ignore[index, call-overload]
