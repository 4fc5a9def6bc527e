"""Where a new schema can't take what an old one wrote, by which rule of Avro, and what a migration must supply there.

The registry only says whether; this says where. It looks at schemas, not at values: a finding may be about values that
no event has. Rules: Avro 1.12 specification, "Schema Resolution".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from redrive.avro.schema import AvroSchema
from redrive.avro.validation import Schema, branch_name
from redrive.migrations.unions import base

Kind = Literal[
    "missing-default", "type-mismatch", "name-mismatch", "size-mismatch", "missing-symbol", "missing-branch", "dropped",
    "rounded",
]  # fmt: skip
KINDS: dict[Kind, str] = {
    "missing-default": "a field of the new schema is not in the old one and has no default",
    "type-mismatch": "the old type is neither the new one nor promoted to it",
    "name-mismatch": "records, enums and fixed types resolve only by their name or an alias",
    "size-mismatch": "fixed types resolve only if their sizes are equal",
    "missing-symbol": "an enum's old symbols are not in the new one, which has no default",
    "missing-branch": "values of one branch of the old union resolve to nothing in the new schema",
    "dropped": "a field of the old schema is not in the new one: its values are lost",
    "rounded": "a number may have more digits than the new type keeps: such events are rejected",
}
"""What is found. All but the last two break Avro's resolution; those two lose something."""

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_ROUNDING = {("int", "float"), ("long", "float"), ("long", "double")}
_CONVERTERS = {"int": "integer", "long": "integer", "float": "double"}
_CONVERTERS |= {name: name for name in ("double", "boolean", "string", "bytes")}
_NAMED = {"record", "error", "enum", "fixed"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where the schemas differ in a way that matters.

    Attributes:
        kind: see `KINDS`.
        path: where, in the names of the old schema as far as it has them, such as ``order.lines[*].price``; empty for
            the value itself.
        reason: what is there, in words.
        supply: what a rule must do; empty if nothing must be done.
    """

    kind: Kind
    path: str
    reason: str
    supply: str

    @property
    def breaks(self) -> bool:
        """Whether Avro can't resolve it, so that a rule is needed."""
        return self.kind not in ("dropped", "rounded")


def compare(old: AvroSchema, new: AvroSchema) -> list[Finding]:
    """Find what stands between values of ``old`` and the schema ``new``: first what breaks, then what is lost."""
    found = dict.fromkeys(_Comparison(old, new).compare(old.inner, new.inner, ()))
    return sorted(found, key=lambda finding: not finding.breaks)


_Path = tuple[str, ...]
_EACH = "[*]"


class _Comparison:
    def __init__(self, old: AvroSchema, new: AvroSchema) -> None:
        self._old, self._new = old.named, new.named
        self._under_way: set[tuple[str, str]] = set()  # records that contain themselves

    def compare(self, old: Schema, new: Schema, at: _Path) -> Iterator[Finding]:
        old = self._old.get(old, old) if isinstance(old, str) else old
        new = self._new.get(new, new) if isinstance(new, str) else new
        if isinstance(old, list):
            yield from self._from_union(old, new, at)
        elif isinstance(new, list):
            yield from self._to_union(old, new, at)
        elif base(old) != base(new):
            yield from self._promoted(old, new, at)
        else:
            yield from self._alike(old, new, at)

    def _from_union(self, old: list[Schema], new: Schema, at: _Path) -> Iterator[Finding]:
        for branch in old:
            found = list(self.compare(branch, new, at))
            broken = [finding for finding in found if finding.breaks]
            if not broken or (len(old) > 1 and base(self._old_one(branch)) in _NAMED):
                yield from found  # of a branch that has its counterpart: what is wrong inside says more
            elif branch == "null":
                supply = f"{_operation('default', at)} with what stands for null"
                yield Finding(
                    "missing-branch", _dotted(at), "may be null, and the new schema has no null there", supply
                )
            else:
                reason = f"may be {_said(branch)}, for which {_said(new)} has no place"
                yield Finding("missing-branch", _dotted(at), reason, _value_for(new, at))

    def _to_union(self, old: Schema, new: list[Schema], at: _Path) -> Iterator[Finding]:
        attempts = [list(self.compare(old, branch, at)) for branch in new]
        fitting = [found for found in attempts if not any(finding.breaks for finding in found)]
        if fitting:
            yield from fitting[0]
            return
        same = [
            found for branch, found in zip(new, attempts, strict=True) if self._same_name(old, self._new_one(branch))
        ]
        if same:
            yield from same[0]
        else:
            reason = f"is {_said(old)}, for which {_said(new)} has no place"
            yield Finding("type-mismatch", _dotted(at), reason, _value_for(new, at))

    def _promoted(self, old: Schema, new: Schema, at: _Path) -> Iterator[Finding]:
        before, after = base(old), base(new)
        if after not in _PROMOTIONS.get(before, ()) or "logicalType" in (*_keys(old), *_keys(new)):
            reason = f"is {_said(old)}, which Avro does not promote to {_said(new)}"
            yield Finding("type-mismatch", _dotted(at), reason, _value_for(new, at))
        elif (before, after) in _ROUNDING:
            reason = f"is {before}, of which {after} does not keep every digit"
            yield Finding("rounded", _dotted(at), reason, "")

    def _alike(self, old: Schema, new: Schema, at: _Path) -> Iterator[Finding]:
        match base(new):
            case "record" | "error":
                if not self._same_name(old, new):
                    yield self._misnamed(old, new, at)
                elif (old["name"], new["name"]) not in self._under_way:
                    self._under_way.add((old["name"], new["name"]))
                    yield from self._fields(old, new, at)
                    self._under_way.discard((old["name"], new["name"]))
            case "array":
                yield from self.compare(old["items"], new["items"], (*at, _EACH))
            case "map":
                yield from self.compare(old["values"], new["values"], (*at, _EACH))
            case "enum":
                yield from self._symbols(old, new, at)
            case "fixed":
                if not self._same_name(old, new):
                    yield self._misnamed(old, new, at)
                if old["size"] != new["size"]:
                    reason = f"has {old['size']} bytes, and {new['size']} in the new schema"
                    yield Finding("size-mismatch", _dotted(at), reason, _value_for(new, at))
            case _ if _logical(old) != _logical(new):
                reason = f"is {_said(old)}, and {_said(new)} in the new schema"
                yield Finding("type-mismatch", _dotted(at), reason, _value_for(new, at))

    def _fields(self, old: dict[str, Any], new: dict[str, Any], at: _Path) -> Iterator[Finding]:
        before = {field["name"]: field for field in old["fields"]}
        taken = set()
        for field in new["fields"]:
            names = (field["name"], *field.get("aliases", ()))
            source = next((name for name in names if name in before), None)
            if source is not None:
                taken.add(source)
                yield from self.compare(before[source]["type"], field["type"], (*at, source))
            elif "default" not in field:
                place = (*at, field["name"])
                reason = f"is new, {_said(field['type'])}, and has no default"
                supply = f"{_operation('add', place)} with its value, or a default in the schema"
                yield Finding("missing-default", _dotted(place), reason, supply)
        for name in before:
            if name not in taken:
                reason = "is only in the old schema: gone, unless a rule uses it"
                yield Finding("dropped", _dotted((*at, name)), reason, "")

    def _symbols(self, old: dict[str, Any], new: dict[str, Any], at: _Path) -> Iterator[Finding]:
        if not self._same_name(old, new):
            yield self._misnamed(old, new, at)
        missing = [symbol for symbol in old["symbols"] if symbol not in new["symbols"]]
        if not missing:
            return
        listed = ", ".join(missing)
        if "default" in new:
            reason = f"may be {listed}, which become {new['default']}"
            yield Finding("dropped", _dotted(at), reason, "")
        else:
            supply = f"{_operation('map', at)} with a table that has {listed}, and others: keep"
            yield Finding("missing-symbol", _dotted(at), f"may be {listed}, which the new schema has not", supply)

    def _misnamed(self, old: dict[str, Any], new: dict[str, Any], at: _Path) -> Finding:
        reason = f"is of the type {old['name']}, and {new['name']} in the new schema"
        supply = f"an alias in the schema ({new['name']}: aliases: [{old['name']}]), or any rule for it"
        return Finding("name-mismatch", _dotted(at), reason, supply)

    def _same_name(self, old: Schema, new: Schema) -> bool:
        if not (isinstance(old, dict) and isinstance(new, dict) and "name" in old and "name" in new):
            return False
        unqualified = {name.rpartition(".")[2] for name in (new["name"], *new.get("aliases", ()))}
        return old["name"].rpartition(".")[2] in unqualified and base(old) == base(new)

    def _old_one(self, schema: Schema) -> Schema:
        return self._old.get(schema, schema) if isinstance(schema, str) else schema

    def _new_one(self, schema: Schema) -> Schema:
        return self._new.get(schema, schema) if isinstance(schema, str) else schema


def _keys(schema: Schema) -> tuple[str, ...]:
    return tuple(schema) if isinstance(schema, dict) else ()


def _logical(schema: Schema) -> Any:
    if not isinstance(schema, dict) or "logicalType" not in schema:
        return None
    return tuple(schema.get(name) for name in ("logicalType", "precision", "scale"))


def _said(schema: Schema) -> str:
    if isinstance(schema, list):
        return f"a union of {', '.join(branch_name(branch) for branch in schema)}"
    if isinstance(schema, dict):
        kind = base(schema)
        if "logicalType" in schema:
            return f"{kind} ({schema['logicalType']})"
        return f"{kind} {schema['name']}" if "name" in schema else kind
    return str(schema)


def _dotted(at: _Path) -> str:
    return "".join(step if step == _EACH else f".{step}" for step in at).removeprefix(".")


def _operation(name: str, at: _Path) -> str:
    """Say which operation of a rule does it; what is inside of lists and maps has no path."""
    if _EACH in at:
        outer = at[: at.index(_EACH)]
        pointer = "".join(f"/{step}" for step in outer)
        return f"in each item of {pointer or 'the value'}, by an expression or a function: {name}"
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in at)
    return f"{name} {pointer}" if pointer else f"{name} the value"


def _value_for(new: Schema, at: _Path) -> str:
    to = _CONVERTERS.get(new) if isinstance(new, str) else None
    logical = new.get("logicalType") if isinstance(new, dict) else None
    if isinstance(logical, str):
        to = {"date": "date", "decimal": "decimal", "uuid": "uuid"}.get(logical)
        to = "timestamp" if logical.startswith("timestamp-") else to
    given = f"{_operation('replace', at)} by an expression that gives {_said(new)}"
    return f"{_operation('convert', at)} to {to}, or {given}" if to and _EACH not in at else given
