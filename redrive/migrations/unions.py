"""Keeping the branch that a value has in a union, where the decoded value does not tell it.

Two records with the same fields, an enum and a string, bytes and a fixed type decode to values that look alike.
Encoding them anew would take the first branch that fits: a ``Deleted`` could become a ``Created``. So schemas with such
unions are found out, their values read with their branches and written with them; and where rules have changed a value,
one that fits several branches is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from redrive.avro.misfit import Misfit
from redrive.avro.schema import AvroSchema
from redrive.avro.validation import Compiler, Schema, branch_name, branch_order, definition, fits

Walk = Callable[[Any], Any]

_NAMED = frozenset({"record", "error", "enum", "fixed"})
_DECODED: dict[str, type] = {"record": dict, "error": dict, "enum": str, "fixed": bytes}
_LOOKS = {"record": "dict", "error": "dict", "map": "dict", "enum": "string", "fixed": "bytes", "long": "int"}
_LOOKS |= {"double": "float"}
_NUMBERS = frozenset({"int", "float"})  # of these, another branch keeps the number


def tells_branches(schema: AvroSchema) -> bool:
    """Say whether each decoded value of a schema tells which branches it has taken."""
    return not any(isinstance(part, list) and _alike(part, schema.named) for part in parts(schema))


def parts(schema: AvroSchema) -> Iterator[Schema]:
    """Yield all schemas that one is made of, each named type once."""
    seen: set[str] = set()
    waiting = [schema.inner]
    while waiting:
        part = definition(waiting.pop(), schema.named)
        if isinstance(part, dict) and part.get("name") is not None:
            if part["name"] in seen:
                continue
            seen.add(part["name"])
        yield part
        waiting += _inside(part)


def base(part: Schema) -> str:
    """Return the name of the type that a schema is of, logical or not; a union is a ``union``."""
    if isinstance(part, list):
        return "union"
    return str(part["type"] if isinstance(part, dict) else part)


def _inside(part: Schema) -> list[Schema]:
    if isinstance(part, list):
        return part
    if not isinstance(part, dict):
        return []
    inner = [field["type"] for field in part.get("fields", ())]
    return inner + [part[name] for name in ("items", "values") if name in part]


def _alike(branches: list[Schema], named: dict[str, Schema]) -> bool:
    looks = [_look(branch, named) for branch in branches]
    return any(look not in _NUMBERS and looks.count(look) > 1 for look in looks)


def _look(branch: Schema, named: dict[str, Schema]) -> str:
    branch = definition(branch, named)
    logical = branch.get("logicalType") if isinstance(branch, dict) else None
    if isinstance(logical, str):
        # As a text without its unit: a time of day in one unit looks like one in another.
        return logical.replace("-millis", "").replace("-micros", "").replace("-nanos", "")
    kind = base(branch)
    return _LOOKS.get(kind, kind)


def compile_named(schema: AvroSchema) -> Walk:
    """Return what prepares for fastavro's writer what its reader gave with ``return_named_type=True``.

    That marks the branches that have names; this marks all others.
    """

    def union(branches: list[Schema], walks: list[Walk]) -> Walk:
        named = {branch_name(branch): walk for branch, walk in zip(branches, walks, strict=True)}
        compiler = Compiler(schema.named)
        unnamed: list[tuple[str, Callable[[Any], None]]] = []
        marked: dict[type, list[str]] = {dict: [], str: [], bytes: []}
        for branch in branch_order(branches):
            kind = base(definition(branch, schema.named))
            if kind in _NAMED:
                marked[_DECODED[kind]].append(branch_name(branch))
            else:
                container = {"array": list, "map": dict}.get(kind)
                test = _is_a(container) if container else compiler.check(branch)
                unnamed.append((branch_name(branch), test))

        def choose(value: Any) -> Any:
            if type(value) is tuple:
                name, inner = value
                return name, named[name](inner)
            name = next((name for name, test in unnamed if fits(test, value)), "")
            if not name:  # the old schema has no union here, so that fastavro's reader has marked nothing
                (name, *others) = marked.get(type(value)) or [""]
                if not name or others:
                    raise Misfit("has a part that fits several branches of a union alike, or none")
            return name, named[name](value)

        return choose

    return _Walker(schema.named, union).walk(schema.inner)


def compile_certain(schema: AvroSchema) -> Walk:
    """Return what raises `Misfit` for a value that fits several branches of a union alike."""

    def union(branches: list[Schema], walks: list[Walk]) -> Walk:
        compiler = Compiler(schema.named)
        choices = [
            (branch_name(branch), _look(branch, schema.named), compiler.check(branch), walk)
            for branch, walk in zip(branches, walks, strict=True)
        ]

        def choose(value: Any) -> Any:
            fitting = [choice for choice in choices if fits(choice[2], value)]
            looks = [look for _, look, _, _ in fitting if look not in _NUMBERS]
            if len(looks) != len(set(looks)):
                names = " and ".join(name for name, _, _, _ in fitting)
                raise Misfit(f"has a part that fits {names} alike, which rules can't keep apart")
            return fitting[0][3](value) if fitting else value

        return choose

    return _Walker(schema.named, union).walk(schema.inner)


def _is_a(container: type) -> Callable[[Any], None]:
    def test(value: Any) -> None:
        if type(value) is not container:
            raise Misfit("is something else")

    return test


class _Walker:
    """Makes functions that go through values and give each value of a union to a function of its own."""

    def __init__(self, named: dict[str, Schema], union: Callable[[list[Schema], list[Walk]], Walk]) -> None:
        self._named, self._union = named, union
        self._records: dict[str, Walk] = {}

    def walk(self, schema: Schema) -> Walk:
        schema = definition(schema, self._named)
        if isinstance(schema, list):
            return self._union(schema, [self.walk(branch) for branch in schema])
        if isinstance(schema, dict):
            if "fields" in schema:
                return self._record(schema)
            if "items" in schema:
                item = self.walk(schema["items"])
                return lambda value: [item(one) for one in value]
            if "values" in schema:
                inner = self.walk(schema["values"])
                return lambda value: {key: inner(one) for key, one in value.items()}
        return lambda value: value

    def _record(self, schema: dict[str, Any]) -> Walk:
        name = schema["name"]
        if name not in self._records:
            self._records[name] = lambda value: self._records[name](value)  # noqa: PLW0108 (types may recur)
            fields = {field["name"]: self.walk(field["type"]) for field in schema["fields"]}
            self._records[name] = lambda value: {key: fields[key](one) for key, one in value.items() if key in fields}
        return self._records[name]
