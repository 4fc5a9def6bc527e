"""What rules have left of a value, brought to a schema as Avro brings a writer's value to a reader's schema.

By name, else by alias; fields that only the old schema has are dropped; strings and bytes are taken for each other, and
an enum's unknown symbol for its default, where the schemas say so. Numbers need nothing: the encoder takes an integer
for a double. In a union, a branch of the value's own type goes before a promotion. Missing fields are left to the
encoder, which knows the defaults. A field that is in neither schema is a rule's mistake, and refused.

Rules: Avro 1.12 specification, "Schema Resolution".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from redrive.avro.misfit import Misfit, shown
from redrive.avro.schema import AvroSchema
from redrive.avro.validation import Compiler, Schema, branch_name, branch_order, fits

Step = Callable[[Any], Any]


def compile_resolution(old: AvroSchema, new: AvroSchema, *, certain: bool = False) -> Step:
    """Return what brings a value of ``old``, as rules have left it, nearer to ``new``; it raises `Misfit`.

    Args:
        old: the schema that the value was written with.
        new: the schema that it is to fit.
        certain: refuse a value that could be brought to several branches of a union alike, such as an object to a
            record and to a map. Else the first branch takes it.
    """
    return _Resolution(old, new, certain).step(old.inner, new.inner) or (lambda value: value)


class _Resolution:
    def __init__(self, old: AvroSchema, new: AvroSchema, certain: bool) -> None:
        self._old, self._new = old.named, new.named
        self._certain = certain
        self._checks = Compiler(new.named)
        self._records: dict[tuple[str, tuple[str, ...]], Step] = {}

    def step(self, old: Schema | None, new: Schema) -> Step | None:  # noqa: PLR0911 - one for each kind of type
        """Return what is to be done with a value; None: nothing. ``old`` is None for what rules have made."""
        new = self._new.get(new, new) if isinstance(new, str) else new
        olds = self._branches(old)
        if isinstance(new, list):
            return self._union(old, new)
        base = new["type"] if isinstance(new, dict) else new
        match base:
            case "record" | "error":
                return self._record(olds, new)
            case "array" | "map":
                inner = "items" if base == "array" else "values"
                before = [one[inner] for one in olds if isinstance(one, dict) and inner in one]
                step = self.step(before[0] if before else None, new[inner])
                return step and (_array(step) if base == "array" else _map(step))
            case "enum" if "default" in new:
                known = {symbol for one in olds if isinstance(one, dict) for symbol in one.get("symbols", ())}
                return _enum(known - set(new["symbols"]), new["default"])
            case "string" if any(_base(one) == "bytes" for one in olds):
                return _text
            case "bytes" if any(_base(one) == "string" for one in olds):
                return _octets
        return None

    def _branches(self, old: Schema | None) -> list[Schema]:
        if old is None:
            return []
        old = self._old.get(old, old) if isinstance(old, str) else old
        return [part for branch in old for part in self._branches(branch)] if isinstance(old, list) else [old]

    def _union(self, old: Schema | None, branches: list[Schema]) -> Step | None:
        real = [branch for branch in branches if branch != "null"]
        steps = [self.step(old, branch) for branch in branch_order(real)]
        if not any(steps):
            return None
        if len(real) == 1:
            (step,) = steps
            assert step is not None
            return lambda value: None if value is None else step(value)
        choices = [
            _Choice(branch_name(branch), _SHAPES.get(_kind(branch, self._new)), self._checks.check(branch), step)
            for branch, step in zip(branch_order(real), steps, strict=True)
        ]
        shapes = [choice.shape for choice in choices if choice.shape]
        unclear = self._certain and len(shapes) != len(set(shapes))

        def choose(value: Any) -> Any:
            if value is None:
                return value
            if unclear and type(value) in _SHAPES.values():
                return _only(value, choices)
            if any(fits(choice.check, value) for choice in choices):
                return value
            return _first(value, choices)

        return choose

    def _record(self, olds: list[Schema], new: dict[str, Any]) -> Step:
        records = [one for one in olds if isinstance(one, dict) and "fields" in one]
        place = new["name"], tuple(one["name"] for one in records)
        if place not in self._records:
            self._records[place] = lambda value: self._records[place](value)  # noqa: PLW0108 (types may recur)
            self._records[place] = self._fields(records, new)
        return self._records[place]

    def _fields(self, records: list[dict[str, Any]], new: dict[str, Any]) -> Step:
        before = {field["name"]: field["type"] for record in records for field in record["fields"]}
        fields = []
        known = set(before)
        for field in new["fields"]:
            names = (field["name"], *field.get("aliases", ()))
            known.update(names)
            old = next((before[name] for name in names if name in before), None)
            fields.append((field["name"], names[1:], self.step(old, field["type"])))

        def resolve(value: Any) -> Any:
            if type(value) is not dict:
                return value  # the encoder says what is wrong with it
            resolved = {}
            for name, aliases, step in fields:
                if name not in value:
                    source = next((alias for alias in aliases if alias in value), None)
                    if source is None:
                        continue
                    inner = value[source]
                else:
                    inner = value[name]
                if step is not None:
                    try:
                        inner = step(inner)
                    except Misfit as misfit:
                        raise misfit.inside(name) from None
                resolved[name] = inner
            if len(resolved) < len(value):
                strange = next((key for key in value if key not in known), None)
                if strange is not None:
                    raise Misfit("is in neither schema: a rule made it", shown(strange).strip("'"))
            return resolved

        return resolve


class _Choice(NamedTuple):
    """A branch of a union.

    Attributes:
        name: what the branch is called.
        shape: the Python type of its values, if it is a container.
        check: raises `Misfit` for what is none of its values.
        step: brings a value nearer to it; None: nothing does.
    """

    name: str
    shape: type | None
    check: Callable[[Any], None]
    step: Step | None

    def brought(self, value: Any) -> Any:
        """Return the value as one of this branch; raises `Misfit`."""
        resolved = self.step(value) if self.step else value
        self.check(resolved)
        return resolved


_SHAPES: dict[Any, type] = {"record": dict, "error": dict, "map": dict, "array": list}


def _first(value: Any, choices: list[_Choice]) -> Any:
    """Return a value as one of the first branch that it can be brought to."""
    why: list[Misfit] = []
    for choice in choices:
        try:
            return choice.brought(value)
        except Misfit as misfit:
            if choice.shape is type(value):
                why.append(misfit)
    if len(why) == 1:  # no other branch can have been meant
        raise why[0]
    return value  # the encoder says what is wrong with it


def _only(value: Any, choices: list[_Choice]) -> Any:
    """Return a container as a value of the one branch that it can be brought to."""
    found = {}
    for choice in choices:
        try:
            found[choice.name] = choice.brought(value)
        except Misfit:
            continue
    if len(found) > 1:
        raise Misfit(f"fits {' and '.join(found)} alike, which rules can't keep apart")
    return next(iter(found.values()), value)


def _kind(schema: Schema, named: dict[str, Schema]) -> Any:
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    return schema["type"] if isinstance(schema, dict) else schema


def _base(schema: Schema) -> Any:
    if isinstance(schema, dict):
        return None if "logicalType" in schema else schema["type"]
    return schema


def _array(step: Step) -> Step:
    return lambda value: [step(item) for item in value] if type(value) is list else value


def _map(step: Step) -> Step:
    return lambda value: {key: step(item) for key, item in value.items()} if type(value) is dict else value


def _enum(unknown: set[str], default: str) -> Step:
    return lambda value: default if type(value) is str and value in unknown else value


def _text(value: Any) -> Any:
    try:
        return value.decode() if type(value) is bytes else value
    except UnicodeDecodeError:
        raise Misfit("is not UTF-8") from None


def _octets(value: Any) -> Any:
    return value.encode() if type(value) is str else value
