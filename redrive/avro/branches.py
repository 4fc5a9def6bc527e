"""Saying which branch of a union a value takes, where fastavro would guess and could guess wrong.

In a union with one branch beside null there is nothing to guess. In others fastavro takes the first branch that
its own, laxer validation lets through: a string for a date (and fails), a list of integers for bytes, a
double for a long. So values of schemas with such unions are rewritten, on the way to the encoder, into
fastavro's tuple notation, ``(branch, value)``, with the branch that the strict check has found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redrive.avro.simple_types import Check
from redrive.avro.validation import Compiler, Schema, branch_name, branch_order, fits

Shape = Callable[[Any], Any]


def compile_branches(schema: Schema, named: dict[str, Schema]) -> Shape | None:
    """Return what rewrites a valid value of ``schema``, or None if values can be encoded as they are."""
    if not _has_choice(schema, named, set()):
        return None
    return _Shaper(named).shape(schema)


def _has_choice(schema: Schema, named: dict[str, Schema], seen: set[str]) -> bool:
    if isinstance(schema, list):
        real = [branch for branch in schema if branch != "null"]
        return len(real) > 1 or any(_has_choice(branch, named, seen) for branch in real)
    if isinstance(schema, str):
        if schema not in named or schema in seen:
            return False
        seen.add(schema)
        return _has_choice(named[schema], named, seen)
    inner = [field["type"] for field in schema.get("fields", ())]
    inner += [schema[part] for part in ("items", "values") if part in schema]
    return any(_has_choice(part, named, seen) for part in inner)


def _as_it_is(value: Any) -> Any:
    return value


class _Shaper:
    def __init__(self, named: dict[str, Schema]) -> None:
        self._named = named
        self._compiler = Compiler(named)
        self._shapes: dict[str, Shape] = {}

    def shape(self, schema: Schema) -> Shape:  # noqa: PLR0911 - one for each kind of type
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            if schema not in self._named:
                return _as_it_is
            if schema not in self._shapes:
                self._shapes[schema] = self._later(schema)
                self._shapes[schema] = self.shape(self._named[schema])
            return self._shapes[schema]
        if "fields" in schema:
            self._shapes.setdefault(schema["name"], self._later(schema["name"]))
            self._shapes[schema["name"]] = self._record(schema)
            return self._shapes[schema["name"]]
        if schema["type"] == "array":
            inner = self.shape(schema["items"])
            return lambda value: [inner(item) for item in value]
        if schema["type"] == "map":
            inner = self.shape(schema["values"])
            return lambda value: {key: inner(item) for key, item in value.items()}
        return _as_it_is

    def _later(self, name: str) -> Shape:
        """Return a shape that finds the real one when it is called, for a type that refers to itself."""
        return lambda value: self._shapes[name](value)  # noqa: PLW0108 (looked up when it is there: types may recur)

    def _union(self, branches: list[Schema]) -> Shape:
        choices: list[tuple[str, Check, Shape]] = [
            (branch_name(branch), self._compiler.check(branch), self.shape(branch)) for branch in branch_order(branches)
        ]

        def choose(value: Any) -> tuple[str, Any]:
            return next((name, shape(value)) for name, check, shape in choices if fits(check, value))

        return choose

    def _record(self, schema: dict[str, Any]) -> Shape:
        fields = [(field["name"], self.shape(field["type"]), field.get("default")) for field in schema["fields"]]

        def fill(value: dict[str, Any]) -> dict[str, Any]:
            return {name: shape(value.get(name, default)) for name, shape, default in fields}

        return fill
