"""Reading a file of rules: all its mistakes with their places, or the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from redrive.errors import RuleMistake, RulesError
from redrive.rules import expressions, model, yaml_positions
from redrive.rules.functions import find_function
from redrive.rules.ruleset import RuleSet
from redrive.rules.subject import EVENT, LETTER, Subject
from redrive.rules.yaml_positions import Document, Place, dotted

_At = yaml_positions.Path
_Found = tuple[Place, _At, str]
_File = TypeVar("_File", model.RuleFile, model.MigrationFile)


def load_rules(path: str | Path) -> RuleSet:
    """Read a file of correction rules and compile them. This imports the functions that it names.

    Raises:
        RulesError: the file has mistakes; the error has them all.
    """
    return RuleSet(read_file(path))


def read_file(path: str | Path) -> model.RuleFile:
    """Read and check a file of correction rules, and return it as it is written; errors are those of `load_rules`."""
    file = str(path)
    return _checked(file, yaml_positions.read(_text(file)), model.RuleFile)


def read_migration(path: str | Path) -> model.MigrationFile:
    """Read and check a file of migration rules; errors are those of `load_rules`."""
    return parse_migration(_text(str(path)), str(path))


def parse_migration(text: str, file: str) -> model.MigrationFile:
    """Do as `read_migration` with the text of a file; ``file`` is what errors call it."""
    return _checked(file, yaml_positions.read(text), model.MigrationFile)


def read_either(path: str | Path) -> model.RuleFile | model.MigrationFile:
    """Read a file of correction or of migration rules: the latter says ``up`` or ``down``."""
    file = str(path)
    document = yaml_positions.read(_text(file))
    directed = isinstance(document.value, dict) and not document.value.keys().isdisjoint(model.DIRECTIONS)
    return _checked(file, document, model.MigrationFile) if directed else _checked(file, document, model.RuleFile)


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(file, [RuleMistake(file, 0, 0, "", f"can't be read: {error}")]) from error


def _checked(file: str, document: Document, kind: type[_File]) -> _File:
    found: list[_Found] = [(place, (), reason) for place, reason in document.mistakes]
    rules = None
    if not found or document.value is not None:
        try:
            rules = kind.model_validate(document.value)
        except ValidationError as error:
            found += _misfits(document, error, kind)
        whole = document.value if isinstance(document.value, dict) else {}
        if kind is model.RuleFile:
            found += _between(document, (), whole, LETTER)
        else:
            for name in model.DIRECTIONS:
                found += _between(document, (name,), whole.get(name), EVENT)
    if rules is None or found:
        ordered = sorted(set(found), key=lambda one: (one[0].line, one[0].column, one[2]))
        mistakes = [RuleMistake(file, place.line, place.column, dotted(at), said) for place, at, said in ordered]
        raise RulesError(file, mistakes)
    return rules


def _misfits(document: Document, error: ValidationError, kind: type[BaseModel]) -> Iterator[_Found]:
    """Give what does not fit the model a place and words."""
    schema = "redrive rules schema" + (" --migration" if kind is model.MigrationFile else "")
    for one in error.errors(include_url=False, include_input=False):
        wrong, message = one["type"], one["msg"]
        path, rest = _path_in(document.value, one["loc"])
        if wrong == "missing":
            yield document.place(path), (*path, *rest[-1:]), "is missing"
        elif wrong == "extra_forbidden":
            yield document.key_place(path), path, f"is unknown here; see `{schema}` for what there is"
        elif wrong.startswith("union_tag"):
            yield document.place((*path, "op")), (*path, "op"), f"must be one of {', '.join(model.OPERATIONS)}"
        else:
            yield document.place(path), path, "must be a mapping" if wrong == "model_type" else _words(message)


def _path_in(value: Any, loc: tuple[int | str, ...]) -> tuple[_At, _At]:
    """Cut what pydantic adds to a path: names of union branches and validators; return the rest of it, too."""
    path: _At = ()
    for at, step in enumerate(loc):
        inside = isinstance(step, str) if isinstance(value, dict) else isinstance(value, list)
        if inside and (step in value if isinstance(value, dict) else isinstance(step, int) and step < len(value)):
            value, path = value[step], (*path, step)
        elif at == len(loc) - 1:
            return path, (step,)
    return path, ()


def _words(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ").replace("should ", "must ")


def _between(document: Document, inside: _At, body: Any, subject: Subject) -> Iterator[_Found]:
    """Find what the model can't tell of a file's ``body`` of rules, which is at ``inside``.

    This looks at what was written, not at what was made of it, so that another mistake hides none of these.
    """
    condition = partial(expressions.compile_condition, subject=subject)
    expression = partial(expressions.compile_expression, subject=subject)
    whole = body if isinstance(body, dict) else {}
    tables = whole.get("tables")
    names: dict[str, int] = {}
    for number, rule in _dicts(whole.get("rules")):
        at: _At = (*inside, "rules", number)
        yield from _exactly_one(document, at, rule, model.ACTION)
        name = rule.get("name")
        if isinstance(name, str) and names.setdefault(name, number) != number:
            yield document.place((*at, "name")), (*at, "name"), f"is the name of rule {names[name] + 1}, too"
        yield from _cel(document, (*at, "match"), rule.get("match"), "when", condition)
        yield from _function(document, (*at, "function"), rule.get("function"))
        for count, operation in _dicts(rule.get("do")):
            here = (*at, "do", count)
            yield from _cel(document, here, operation, "expression", expression)
            if operation.get("op") in ("add", "replace", "test", "default"):
                yield from _exactly_one(document, here, operation, model.VALUE)
            table = operation.get("table")
            if isinstance(table, str) and table not in (tables if isinstance(tables, dict) else {}):
                known = ", ".join(tables) if isinstance(tables, dict) and tables else "none"
                yield document.place((*here, "table")), (*here, "table"), f"is no table here; there is {known}"
    for number, example in _dicts(whole.get("examples")):
        expect = example.get("expect")
        if isinstance(expect, dict):
            yield from _exactly_one(document, (*inside, "examples", number, "expect"), expect, model.OUTCOME)
        expected = expect.get("rules") if isinstance(expect, dict) else None
        for count, name in enumerate(expected if isinstance(expected, list) else []):
            if isinstance(name, str) and name not in names:
                at = (*inside, "examples", number, "expect", "rules", count)
                yield document.place(at), at, "is no rule of this file"


def _exactly_one(document: Document, at: _At, holder: dict[str, Any], names: tuple[str, ...]) -> Iterator[_Found]:
    given = [name for name in names if name in holder and (name == "value" or holder[name] is not None)]
    if len(given) != 1:
        has = " and ".join(given) or "none"
        yield document.place(at), at, f"needs exactly one of {', '.join(names)}; it has {has}"


def _cel(document: Document, at: _At, holder: Any, name: str, compile_: Any) -> Iterator[_Found]:
    text = holder.get(name) if isinstance(holder, dict) else None
    compiled = compile_(text) if isinstance(text, str) and text else None
    if isinstance(compiled, list):
        for line, column, reason in compiled:
            yield document.place_inside((*at, name), line, column), (*at, name), reason


def _function(document: Document, at: _At, reference: Any) -> Iterator[_Found]:
    if isinstance(reference, str) and ":" in reference:
        try:
            find_function(reference)
        except ValueError as error:
            yield document.place(at), at, str(error)


def _dicts(items: Any) -> Iterable[tuple[int, dict[str, Any]]]:
    return ((at, item) for at, item in enumerate(items if isinstance(items, list) else []) if isinstance(item, dict))
