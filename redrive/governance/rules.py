"""What a schema has to be before it is registered, beyond being Avro: what keeps it readable, and open to change.

It looks at one text. What the registry says of it beside earlier versions: see `redrive.governance.checking`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from redrive.avro.schema import parse
from redrive.errors import SchemaError
from redrive.governance.json_lines import Path, value_lines
from redrive.governance.soundness import faults

Severity = Literal["error", "advice"]
Rule = Literal[
    "not-avro", "name", "namespace", "doc", "null-first", "null-default", "enum-default", "logical-type",
    "unusable", "incompatible", "rolled-back", "naming", "field-doc", "no-default", "no-record", "unused",
]  # fmt: skip
RULES: dict[Rule, tuple[Severity, str]] = {
    "not-avro": ("error", "a schema is valid JSON and valid Avro"),
    "name": ("error", "names are letters, digits and underscores, and no two fields of a record share one"),
    "namespace": ("error", "the outermost type has a namespace, so that no other schema's name meets its own"),
    "doc": ("error", "the outermost type says what it is"),
    "null-first": ("error", "null is a union's first branch: a field's default is a value of the first"),
    "null-default": ("error", "a field that may be null has the default null, if it has one"),
    "enum-default": ("error", "an enum has a default, for readers that meet a symbol which is newer than they are"),
    "logical-type": ("error", "a logical type is one of Avro's, complete, on a type that can bear it"),
    "unusable": ("error", "producers and consumers can start with it, and some value fits"),
    "incompatible": ("error", "the registry lets it follow the versions that there are, by the subject's rule"),
    "rolled-back": ("advice", "it is the latest version, or a new one: producers start with the latest"),
    "naming": ("advice", "types are called LikeThis, fields like_this"),
    "field-doc": ("advice", "fields say what they are"),
    "no-default": ("advice", "a field that may be null has the default null, so that it may be added and left out"),
    "no-record": ("advice", "the outermost type is a record: nothing can ever be added to another"),
    "unused": ("advice", "a topic of the settings has it; else the registry can't be asked, and nothing registers it"),
}
"""Each rule: whether breaking it is an error or gets advice only, and what it asks for."""

# Avro 1.12 specification, "Logical Types".
_LOGICAL = {
    "decimal": {"bytes", "fixed"},
    "big-decimal": {"bytes"},
    "uuid": {"string", "fixed"},
    "date": {"int"},
    "time-millis": {"int"},
    "duration": {"fixed"},
    "time-micros": {"long"},
    "timestamp-millis": {"long"},
    "timestamp-micros": {"long"},
    "timestamp-nanos": {"long"},
    "local-timestamp-millis": {"long"},
    "local-timestamp-micros": {"long"},
    "local-timestamp-nanos": {"long"},
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPE_STYLE, _FIELD_STYLE = re.compile(r"[A-Z][A-Za-z0-9]*"), re.compile(r"[a-z][a-z0-9_]*")
_EACH = "[*]"


@dataclass(frozen=True, slots=True)
class Violation:
    """A place in a schema where a rule is broken.

    Attributes:
        rule: see `RULES`.
        line: of the file, from 1; None if it is about the file as a whole, or can't be known.
        path: the field, such as ``order.lines[*].price``; empty for the outermost type.
        reason: what is there, in words.
        topic: the topic whose subject it is about; empty if it is about no single one.
    """

    rule: Rule
    line: int | None
    path: str
    reason: str
    topic: str = ""

    @property
    def severity(self) -> Severity:
        """Whether it stands in the way of being registered."""
        return RULES[self.rule][0]


def check_text(text: str, name: str = "") -> list[Violation]:
    """Find where a schema (JSON) breaks a rule, in the order of its lines.

    Args:
        text: the schema.
        name: what to call it in reasons.
    """
    try:
        schema = parse(text, name=name)
    except SchemaError as error:
        cause = error.__cause__
        line = cause.lineno if isinstance(cause, json.JSONDecodeError) else None
        return [Violation("not-avro", line, "", error.reason)]
    lines, not_json = value_lines(text), list[str]()
    found = list(_Checker(lines).outermost(json.loads(text, parse_constant=not_json.append)))
    found += [Violation("not-avro", None, "", f"has {each}, which is no JSON, as a value") for each in not_json]
    found += [Violation(rule, lines[at], path, reason) for rule, at, path, reason in faults(schema)]
    return sorted(found, key=lambda violation: violation.line or 0)


def line_of(text: str, path: str) -> int | None:
    """Tell in which line of a schema the outermost field of a path stands, by its name or an alias; else its first.

    ``text`` must be a valid schema.
    """
    lines, schema = value_lines(text), json.loads(text)
    outer = re.split(r"[.\[]", path, maxsplit=1)[0]
    fields = schema.get("fields", []) if isinstance(schema, dict) else []
    for number, field in enumerate(fields):
        if outer in (field["name"], *field.get("aliases", ())):
            return lines[("fields", number)]
    return lines[()]


class _Checker:
    """Walks a schema as it is written: types that are only named are looked at where they are defined."""

    def __init__(self, lines: dict[Path, int]) -> None:
        self._lines = lines

    def outermost(self, schema: Any) -> Iterator[Violation]:
        named = isinstance(schema, dict) and "name" in schema
        if not (named and schema["type"] in ("record", "error")):
            yield self._found("no-record", (), "", "is no record; put it into one, as its only field")
        if named:
            if "." not in schema["name"] and not schema.get("namespace"):
                yield self._found("namespace", (), "", f'{schema["name"]} has none; add "namespace": "…"')
            if not str(schema.get("doc", "")).strip():
                yield self._found("doc", (), "", f'{schema["name"]} does not say what it is; add "doc": "…"')
        yield from self._type(schema, (), "")

    def _type(self, schema: Any, at: Path, path: str) -> Iterator[Violation]:
        if isinstance(schema, list):
            yield from self._union(schema, at, path)
        if not isinstance(schema, dict):
            return
        if "logicalType" in schema:
            yield from self._logical(schema, at, path)
        if "name" in schema:
            yield from self._name(schema, at, path)
        match schema["type"]:
            case "record" | "error":
                yield from self._fields(schema, at, path)
            case "enum" if "default" not in schema and schema["symbols"]:
                reason = (
                    f'{schema["name"]} has none; add "default": "{schema["symbols"][-1]}", or another of its symbols'
                )
                yield self._found("enum-default", at, path, reason)
            case "array":
                yield from self._type(schema["items"], (*at, "items"), path + _EACH)
            case "map":
                yield from self._type(schema["values"], (*at, "values"), path + _EACH)
            case dict() | list() as inner:
                yield from self._type(inner, (*at, "type"), path)

    def _union(self, branches: list[Any], at: Path, path: str) -> Iterator[Violation]:
        if any(map(_is_null, branches[1:])):
            yield self._found("null-first", at, path, "is a union with null, but not as its first branch; move it")
        for number, branch in enumerate(branches):
            yield from self._type(branch, (*at, number), path)

    def _logical(self, schema: dict[str, Any], at: Path, path: str) -> Iterator[Violation]:
        logical, base = schema["logicalType"], schema["type"]
        bearers = _LOGICAL.get(logical) if isinstance(logical, str) else None
        if bearers is None:
            known = ", ".join(sorted(_LOGICAL))
            reason = f"{logical!r} is none of Avro's, so every reader takes it for a plain {base}; there are {known}"
            yield self._found("logical-type", at, path, reason)
        elif not isinstance(base, str) or base not in bearers:
            on = " or ".join(sorted(bearers))
            yield self._found("logical-type", at, path, f"{logical} stands on {base}; it means something on {on} only")

    def _name(self, schema: dict[str, Any], at: Path, path: str) -> Iterator[Violation]:
        name = schema["name"]
        whole = f"{schema['namespace']}.{name}" if schema.get("namespace") else name
        wrong = [part for part in whole.split(".") if not _NAME.fullmatch(part)]
        if wrong:
            yield self._found("name", at, path, f"{whole} is no name: {wrong[0]!r} has more than letters, digits, _")
        elif not _TYPE_STYLE.fullmatch(name.rpartition(".")[2]):
            yield self._found("naming", at, path, f"{schema['type']} {name} is not called LikeThis")

    def _fields(self, record: dict[str, Any], at: Path, path: str) -> Iterator[Violation]:
        seen = set[str]()
        for number, field in enumerate(record["fields"]):
            here, name = (*at, "fields", number), field["name"]
            inside = f"{path}.{name}".removeprefix(".")
            if not _NAME.fullmatch(name):
                reason = f"{name!r} is no name: it has more than letters, digits, _"
                yield self._found("name", here, inside, reason)
            elif name in seen:
                yield self._found("name", here, inside, f"{record['name']} has another field of this name")
            elif not _FIELD_STYLE.fullmatch(name):
                yield self._found("naming", here, inside, "is not called like_this")
            seen.add(name)
            yield from self._default(field, here, inside)
            yield from self._type(field["type"], (*here, "type"), inside)
        bare = [field["name"] for field in record["fields"] if not str(field.get("doc", "")).strip()]
        if bare:
            reason = f"{record['name']}: {len(bare)} of {len(record['fields'])} have no doc: {', '.join(bare)}"
            yield self._found("field-doc", at, path, reason)

    def _default(self, field: dict[str, Any], at: Path, path: str) -> Iterator[Violation]:
        kind = field["type"]
        if not (isinstance(kind, list) and any(map(_is_null, kind))):
            return
        if "default" not in field:
            reason = 'may be null and has no default; "default": null would let it be added later, and left out'
            yield self._found("no-default", at, path, reason)
        elif field["default"] is not None:
            reason = f"may be null, but its default is {json.dumps(field['default'])}; make that null, or take null out"
            yield self._found("null-default", at, path, reason)

    def _found(self, rule: Rule, at: Path, path: str, reason: str) -> Violation:
        return Violation(rule, self._lines[at], path, reason)


def _is_null(branch: Any) -> bool:
    return branch in ("null", {"type": "null"})
