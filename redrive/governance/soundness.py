"""What is not right in a schema that parses: no producer or no consumer could start with it, or no value fits.

fastavro, like Avro's own libraries, looks at names and shapes and little else: it parses a decimal without a precision,
a fixed type of -1 bytes, a union that has a branch twice. What is asked for here is Avro's specification, 1.12.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from redrive.avro.codec import Decoder, Encoder
from redrive.avro.misfit import Misfit
from redrive.avro.schema import AvroSchema
from redrive.avro.validation import Compiler
from redrive.errors import SchemaError
from redrive.governance.json_lines import Path

Fault = tuple[Literal["not-avro", "logical-type", "name", "unusable"], Path, str, str]
"""Rule, place in the JSON, field, and what is wrong there."""

_SIZES = {"duration": 12, "uuid": 16}


def faults(schema: AvroSchema) -> list[Fault]:
    """Find what is not right, with its place; or else what keeps an encoder or a decoder from being made."""
    found = list(_Walk(schema.named).type(schema.inner, (), ""))
    if found:
        return found
    try:
        Encoder(schema)
        Decoder(schema)
    except SchemaError as error:
        return [("unusable", (), "", error.reason)]
    return []


class _Walk:
    """Walks a schema as it is parsed: in the shape in which it is written, but with all names in full."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named

    def type(self, schema: Any, at: Path, path: str) -> Iterator[Fault]:
        if isinstance(schema, list):
            yield from self._union(schema, at, path)
        if not isinstance(schema, dict):
            return
        yield from _logical(schema, at, path)
        match schema["type"]:
            case "record" | "error":
                yield from self._record(schema, at, path)
            case "enum" if not schema["symbols"]:
                yield "not-avro", at, path, f"{_short(schema)} has no symbols, so no value fits"
            case "fixed" if not _is_number(schema["size"], least=0):
                yield "not-avro", at, path, f"{_short(schema)} has the size {schema['size']!r}; it is a number of bytes"
            case "array":
                yield from self.type(schema["items"], (*at, "items"), f"{path}[*]")
            case "map":
                yield from self.type(schema["values"], (*at, "values"), f"{path}[*]")

    def _union(self, branches: list[Any], at: Path, path: str) -> Iterator[Fault]:
        if not branches:
            yield "not-avro", at, path, "is a union without branches, so no value fits"
        seen = set[str]()
        for number, branch in enumerate(branches):
            here = (*at, number)
            if isinstance(branch, list):
                yield "not-avro", here, path, "is a union right within a union; write all branches into one"
            else:
                name = branch if isinstance(branch, str) else str(branch.get("name", branch["type"]))
                if name in seen:
                    reason = f"is a union that has {name} twice; of array, map and each other type it may have one"
                    yield "not-avro", here, path, reason
                seen.add(name)
            yield from self.type(branch, here, path)

    def _record(self, record: dict[str, Any], at: Path, path: str) -> Iterator[Fault]:
        if not self._may_end(record, ()):
            yield "unusable", at, path, f"{_short(record)} contains itself without an end, so no value fits"
        names = {field["name"] for field in record["fields"]}
        for number, field in enumerate(record["fields"]):
            here, inside = (*at, "fields", number), f"{path}.{field['name']}".removeprefix(".")
            for alias in field.get("aliases", ()):
                if alias in names:
                    yield "name", here, inside, f"{alias!r}, its alias, is another field's name or alias, or its own"
                names.add(alias)
            if "logicalType" in field:
                reason = (
                    "logicalType stands beside the field's type, where nobody looks for it; write "
                    f'"type": {{"type": …, "logicalType": "{field["logicalType"]}"}}'
                )
                yield "logical-type", here, inside, reason
            wrong = list(self.type(field["type"], (*here, "type"), inside))
            yield from wrong
            if "default" in field and not wrong:
                yield from self._default(field, here, inside)

    def _default(self, field: dict[str, Any], at: Path, path: str) -> Iterator[Fault]:
        try:
            Compiler(self._named).check(field["type"])(field["default"])
        except Misfit as misfit:
            where = f" at {misfit.field}" if misfit.field else ""
            yield "not-avro", at, path, f"has a default that is no value of its type:{where} {misfit.reason}"
        except (ValueError, KeyError):
            return  # the encoder says what is wrong with the type

    def _may_end(self, schema: Any, inside: tuple[str, ...]) -> bool:
        """Say whether some value of a type is finite."""
        if isinstance(schema, str):
            schema = self._named.get(schema, schema)
        if isinstance(schema, list):
            return any(self._may_end(branch, inside) for branch in schema)
        if not isinstance(schema, dict) or schema["type"] not in ("record", "error"):
            return True  # an array or a map may be empty
        if schema["name"] in inside:
            return False
        return all(self._may_end(field["type"], (*inside, schema["name"])) for field in schema["fields"])


def _logical(schema: dict[str, Any], at: Path, path: str) -> Iterator[Fault]:
    logical, size = schema.get("logicalType"), schema.get("size")
    if logical == "decimal" and schema["type"] in ("bytes", "fixed"):
        precision = schema.get("precision")
        if precision is None:
            yield "logical-type", at, path, 'is a decimal without "precision": how many digits it has in all'
        elif not _is_number(precision, least=1):
            yield "logical-type", at, path, f"is a decimal with the precision {precision!r}; it has one digit at least"
    wanted = _SIZES.get(logical) if isinstance(logical, str) else None
    if wanted is not None and schema["type"] == "fixed" and size != wanted:
        yield "logical-type", at, path, f"is a {logical} of {size!r} bytes; it has {wanted}"


def _is_number(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _short(schema: dict[str, Any]) -> str:
    return str(schema["name"]).rpartition(".")[2]
