"""The operations of rules, each compiled into a function that changes a draft."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from redrive.avro.misfit import kind
from redrive.rules import model
from redrive.rules.conversions import converter
from redrive.rules.draft import MISSING, Draft, Steps, clone, parse_pointer, same
from redrive.rules.expressions import compile_expression
from redrive.rules.refusal import Refusal
from redrive.rules.subject import Subject

Change = Callable[[Draft, Any], None]
"""Takes a draft, and the letter or event whose value it is; changes the draft, or raises `Refusal`."""

Tables = dict[str, dict[str, Any]]
_NOTHING = "there is nothing at the path"


def compile_operation(  # noqa: PLR0911 - one for each kind
    operation: model.Operation, tables: Tables, subject: Subject
) -> Change:
    """Compile one operation of a file without mistakes."""
    match operation:
        case model.Add() | model.Replace() | model.Test() | model.Default():
            steps, value = parse_pointer(operation.path), _value_of(operation, subject)
            return {"add": _add, "replace": _replace, "test": _test, "default": _default}[operation.op](steps, value)
        case model.Remove():
            return _remove(parse_pointer(operation.path))
        case model.Drop():
            return _drop(parse_pointer(operation.path))
        case model.Move() | model.Copy():
            return _transfer(parse_pointer(operation.from_), parse_pointer(operation.path), move=operation.op == "move")
        case model.Rename():
            return _rename(parse_pointer(operation.path), operation.to)
        case model.Convert():
            return _convert(parse_pointer(operation.path), operation.to)
        case model.Map():
            return _map(operation, tables)
        case model.Split():
            into = None if operation.into is None else [parse_pointer(pointer) for pointer in operation.into]
            return _split(parse_pointer(operation.path), operation.separator, into)


_Value = Callable[[Draft, Any], Any]


def _value_of(operation: Any, subject: Subject) -> _Value:
    if operation.expression is None:
        value = model.constant(operation.value)
        return lambda draft, about: value
    evaluate = compile_expression(operation.expression, subject)
    assert not isinstance(evaluate, list)
    return lambda draft, about: evaluate(about, draft.root)


def _add(steps: Steps, value: _Value) -> Change:
    return lambda draft, about: draft.insert(steps, value(draft, about))


def _replace(steps: Steps, value: _Value) -> Change:
    def replace(draft: Draft, about: Any) -> None:
        if draft.get(steps) is MISSING:
            raise Refusal(_NOTHING)
        draft.set(steps, value(draft, about))

    return replace


def _test(steps: Steps, value: _Value) -> Change:
    def test(draft: Draft, about: Any) -> None:
        found = draft.get(steps)
        if found is MISSING:
            raise Refusal(_NOTHING)
        if not same(found, value(draft, about)):
            raise Refusal("is not what the test asks for")

    return test


def _default(steps: Steps, value: _Value) -> Change:
    def default(draft: Draft, about: Any) -> None:
        found = draft.get(steps)
        if found is None or found is MISSING:
            draft.set(steps, value(draft, about))

    return default


def _remove(steps: Steps) -> Change:
    def remove(draft: Draft, about: Any) -> None:
        draft.remove(steps) if steps else draft.set(steps, None)

    return remove


def _drop(steps: Steps) -> Change:
    def drop(draft: Draft, about: Any) -> None:
        if draft.get(steps) is not MISSING:
            draft.remove(steps)

    return drop


def _transfer(source: Steps, target: Steps, *, move: bool) -> Change:
    def transfer(draft: Draft, about: Any) -> None:
        value = draft.get(source)
        if value is MISSING:
            raise Refusal("there is nothing at `from`")
        if not move:
            draft.insert(target, clone(value))
        elif source != target:
            draft.insert(target, draft.remove(source))

    return transfer


def _rename(steps: Steps, to: str) -> Change:
    target = (*steps[:-1], to)

    def rename(draft: Draft, about: Any) -> None:
        if draft.get(steps) is MISSING or to == steps[-1]:
            return
        if isinstance(draft.get(steps[:-1]), list | tuple):
            raise Refusal("is an item of a list, which has no name")
        if draft.get(target) is not MISSING:
            raise Refusal("there is a field of the new name already")
        draft.set(target, draft.remove(steps))

    return rename


def _convert(steps: Steps, to: str) -> Change:
    convert = converter(to)

    def change(draft: Draft, about: Any) -> None:
        found = draft.get(steps)
        if found is not None and found is not MISSING:
            converted = convert(found)
            if converted is not found:
                draft.set(steps, converted)

    return change


def _map(operation: model.Map, tables: Tables) -> Change:
    steps = parse_pointer(operation.path)
    given = tables[operation.table] if isinstance(operation.table, str) else operation.table
    table = {key: model.constant(value) for key, value in given.items()}
    keep, has_otherwise = operation.others == "keep", "otherwise" in operation.model_fields_set
    otherwise = model.constant(operation.otherwise)

    def look_up(draft: Draft, about: Any) -> None:
        found = draft.get(steps)
        if found is MISSING:
            return
        key = found if isinstance(found, str) else _key(found)
        if key in table:
            draft.set(steps, table[key])
        elif found is None or keep:
            return
        elif has_otherwise:
            draft.set(steps, otherwise)
        else:
            raise Refusal(f"is {kind(found)} that the look-up table has not")

    return look_up


def _key(value: Any) -> str | None:
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else None


def _split(steps: Steps, separator: str, into: list[Steps] | None) -> Change:
    def split(draft: Draft, about: Any) -> None:
        found = draft.get(steps)
        if found is None or found is MISSING:
            return
        if not isinstance(found, str):
            raise Refusal(f"is {kind(found)}, not a text that can be split")
        parts = found.split(separator)
        if into is None:
            draft.set(steps, parts)
            return
        if len(parts) != len(into):
            raise Refusal(f"splits into {len(parts)} parts, not {len(into)}")
        for place, part in zip(into, parts, strict=True):
            draft.set(place, part)

    return split
